/* --- modules that are part of this program --- */
#define LINKED(f) extern Datum f(PG_FUNCTION_ARGS); extern const Pg_finfo_record *pg_finfo_##f(void);
LINKED(plpgsql_call_handler)
LINKED(plpgsql_inline_handler)
LINKED(plpgsql_validator)
#undef LINKED
extern void plpgsql_linked_init(void);

static const struct linked
{
	const char *name;
	void	   *address;
}			linked[] = {
#define LINKED(f) {#f, (void *) f}, {"pg_finfo_" #f, (void *) pg_finfo_##f}
	LINKED(plpgsql_call_handler),
	LINKED(plpgsql_inline_handler),
	LINKED(plpgsql_validator),
};

/* Is this file name that of the module?  It is set up at the first question. */
static bool
is_linked(const char *filename)
{
	static bool ready;
	const char *base = strrchr(filename, '/');

	base = base ? base + 1 : filename;
	if (strcmp(base, "plpgsql") != 0 && strcmp(base, "plpgsql.so") != 0)
		return false;
	if (!ready)
	{
		ready = true;
		plpgsql_linked_init();
	}
	return true;
}

static void *
find_linked(const char *function)
{
	for (int i = 0; i < lengthof(linked); i++)
		if (strcmp(linked[i].name, function) == 0)
			return linked[i].address;
	return NULL;
}
