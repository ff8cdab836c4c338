// C++: a guard that stops health checking whenever a block is left, and errors as exceptions.
//
// An exception that leaves the guarded block ends health checking on purpose, because the program handles the error
// itself. A crash inside the block leads to a restart.

#include <corosync/sam.h>

#include <csignal>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

void check(cs_error_t code, const char *call)
{
    if (code != CS_OK)
        throw std::runtime_error(std::string(call) + ": error " + std::to_string(code));
}

class Supervised {
public:
    Supervised() { check(sam_start(), "sam_start"); }
    ~Supervised() { sam_stop(); }
    Supervised(const Supervised &) = delete;
    Supervised &operator=(const Supervised &) = delete;
    void alive() { check(sam_hc_send(), "sam_hc_send"); }
};

void work(unsigned int instance)
{
    Supervised supervised;
    for (int step = 1; step <= 3; ++step) {
        std::cout << "instance " << instance << ": step " << step << std::endl;
        if (step == 2 && instance == 1)
            std::raise(SIGSEGV);
        if (step == 3)
            throw std::runtime_error("no paper");
        supervised.alive();
    }
}

} // namespace

int main()
{
    unsigned int instance = 0;
    try {
        check(sam_initialize(1000, SAM_RECOVERY_POLICY_RESTART), "sam_initialize");
        check(sam_register(&instance), "sam_register");
        work(instance);
    } catch (const std::exception &error) {
        std::cout << "instance " << instance << " gives up: " << error.what() << std::endl;
        return 3;
    }
    return 0;
}
