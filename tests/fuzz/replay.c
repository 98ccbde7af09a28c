/* Feeds files to a fuzz program without the fuzzer: each argument is a file or a folder of files.
 * Also gives the empty input.  Fails when there was no file at all, so that a lost corpus shows. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned files;

static void one(const char *path)
{
	FILE *f = fopen(path, "rb");
	long n;

	if (!f || fseek(f, 0, SEEK_END) != 0 || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) != 0) {
		perror(path);
		exit(1);
	}
	/* exactly as long as the file, so that the sanitizer sees a read behind its end */
	uint8_t *p = xmalloc((size_t)n);
	if (fread(p, 1, (size_t)n, f) != (size_t)n) {
		perror(path);
		exit(1);
	}
	fclose(f);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(p, (size_t)n);
	free(p);
	files++;
}

int main(int argc, char **argv)
{
	char path[4096];
	struct stat st;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			DIR *d = opendir(argv[i]);
			struct dirent *e;

			while (d && (e = readdir(d))) {
				if (e->d_name[0] == '.')
					continue;
				snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
				one(path);
			}
			if (d)
				closedir(d);
		} else {
			one(argv[i]);
		}
	}
	if (!files)
		fprintf(stderr, "no input files\n");
	return files ? 0 : 1;
}
