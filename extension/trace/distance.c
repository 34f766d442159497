/*
 * distance.c - how far an image is from the file: nearly all of the time that a search takes.
 */
#include "postgres.h"

#include "trace/evidence.h"

/*
 * The least distance of count guesses from a hash, or limit + 1. Half of the
 * bits tell nearly always that a picture is another one.
 */
static inline __attribute__((always_inline)) int
least(const EvidenceHash *guess, int count, const EvidenceHash *hash, int limit)
{
	int best = limit + 1;

	for (int i = 0; i < count; i++)
	{
		int distance = __builtin_popcountll(guess[i].words[0] ^ hash->words[0]) +
					   __builtin_popcountll(guess[i].words[1] ^ hash->words[1]);

		if (distance >= best)
			continue;
		distance += __builtin_popcountll(guess[i].words[2] ^ hash->words[2]);
		if (distance >= best)
			continue;
		distance += __builtin_popcountll(guess[i].words[3] ^ hash->words[3]);
		best = Min(best, distance);
	}
	return best;
}

typedef int (*Least)(const EvidenceHash *guess, int count, const EvidenceHash *hash, int limit);

static int
least_plain(const EvidenceHash *guess, int count, const EvidenceHash *hash, int limit)
{
	return least(guess, count, hash, limit);
}

#if defined(__x86_64__)

/* The instruction is there on all but the oldest machines, but compilers must not assume it. */
__attribute__((target("popcnt"))) static int
least_popcnt(const EvidenceHash *guess, int count, const EvidenceHash *hash, int limit)
{
	return least(guess, count, hash, limit);
}

static Least
choose_least(void)
{
	return __builtin_cpu_supports("popcnt") ? least_popcnt : least_plain;
}

#else

static Least
choose_least(void)
{
	return least_plain;
}

#endif

int
evidence_distance(const EvidenceKey *key, const uint8 *picture_hash, int limit)
{
	static Least chosen = NULL;
	EvidenceHash hash;
	int distance;

	if (picture_hash == NULL || key->guesses == 0)
		return -1;
	if (chosen == NULL)
		chosen = choose_least();
	memcpy(&hash, picture_hash, sizeof(hash));
	distance = chosen(key->guess, key->guesses, &hash, limit);
	return distance > limit ? -1 : distance;
}
