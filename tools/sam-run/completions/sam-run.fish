complete -c sam-run -s n -l name -d 'Name in sam-status and the log [default: the name of the program]' -r
complete -c sam-run -s i -l interval -d 'Longest silence allowed between two heartbeats, such as 500ms or 10s [default: 30s]' -r
complete -c sam-run -l check -d 'Take exit status 0 of this shell command as a heartbeat' -r
complete -c sam-run -l check-every -d 'Time between two starts of the check [default: half the interval]' -r
complete -c sam-run -l check-timeout -d 'Time after which a check is killed [default: half the interval]' -r
complete -c sam-run -l start-timeout -d 'Longest time until READY=1, and from STOPPING=1 to the end' -r
complete -c sam-run -l listen -d 'Open a socket and pass it to every instance: ADDR:PORT or unix:PATH; repeatable' -r
complete -c sam-run -l restart -d 'Ends after which the program is started again' -r -f -a "always\t'After each end'
on-failure\t'After each end but an exit with status 0'
never\t'After none'"
complete -c sam-run -l restart-limit -d 'Give up after more than N restarts in TIME' -r
complete -c sam-run -l restart-delay -d 'Wait before a restart, twice as long each time [default: 1ms..10s]' -r
complete -c sam-run -l stop-signal -d 'Signal that replaces SIGTERM for the program' -r
complete -c sam-run -l warn-signal -d 'Signal that warns a silent program, or none [default: TERM]' -r
complete -c sam-run -l hang-signal -d 'Signal for a hung program before SIGKILL, such as ABRT' -r
complete -c sam-run -l watchdog -d 'Take the program\'s WATCHDOG=1 messages as heartbeats'
complete -c sam-run -l ready -d 'Begin supervision with the program\'s READY=1'
complete -c sam-run -l quorum -d 'Run the program only while the cluster partition is quorate'
complete -c sam-run -l cmap -d 'Show the state to corosync\'s watchdog'
complete -c sam-run -l kill-group -d 'Kill the processes that the program leaves behind'
complete -c sam-run -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sam-run -s V -l version -d 'Print version'
