/*
 * fuzz_scrub.c - scrub_text never grows a text nor leaves a long run in it,
 * and scrub_conceal leaves a lexer the same tokens: what it has overwritten
 * once, it finds again.
 */
#include "core/scrub.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *
copy_of(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

static void
check_scrub(const uint8_t *data, size_t size, const ScrubRules *rules)
{
	char *text = copy_of(data, size);
	size_t length = scrub_text(text, size, rules);
	size_t run = 0;

	if (length > size || text[length] != '\0')
		abort();
	for (size_t i = 0; i < length; i++)
	{
		run = text[i] >= '0' && text[i] <= '9' ? run + 1 : 0;
		if (run > rules->limit)
			abort();
	}
	free(text);
}

static void
check_conceal(const uint8_t *data, size_t size, const ScrubRules *rules)
{
	char *once = copy_of(data, size);
	char *twice;
	size_t count = scrub_conceal(once, size, rules);

	twice = copy_of((const uint8_t *) once, size);
	if (scrub_conceal(twice, size, rules) != count || memcmp(once, twice, size) != 0)
		abort();
	if (once[size] != '\0')
		abort();
	free(once);
	free(twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ScrubRules rules = {.limit = SCRUB_LIMIT_MIN};

	if (size < 1)
		return 0;
	rules.kind = (ScrubKind) (data[0] % 3);
	rules.backslash = (data[0] & 4) != 0;
	rules.doubled = (data[0] & 8) != 0;
	rules.excerpts = (data[0] & 16) != 0;
	rules.every = (data[0] & 64) != 0;
	rules.prose_max = (data[0] & 32) != 0 ? 100 : 0;
	check_scrub(data + 1, size - 1, &rules);
	check_conceal(data + 1, size - 1, &rules);
	return 0;
}
