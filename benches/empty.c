/* Does nothing. Built with libsam and without. */
int main(void)
{
	return 0;
}
