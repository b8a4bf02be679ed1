const char *beside_says(void);

const char *
beside_says(void)
{
	return "beside\n";
}
