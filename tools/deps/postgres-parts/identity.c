static bool
is_template(void)
{
	return getenv("PG_TEMPLATE") != NULL;
}

static void
new_identity(void)
{
	struct timeval tv;

	gettimeofday(&tv, NULL);
	ControlFile.system_identifier = ((uint64) tv.tv_sec << 32) | ((uint64) tv.tv_usec << 12) | (getpid() & 0xFFF);
	if (is_template())
	{
		ControlFile.system_identifier = 1;
		memset(ControlFile.mock_authentication_nonce, 0, MOCK_AUTH_NONCE_LEN);
	}
	else if (!pg_strong_random(ControlFile.mock_authentication_nonce, MOCK_AUTH_NONCE_LEN))
		pg_fatal("could not generate a random nonce");
}
