/*
 * relcache.c - one callback of the server's for all of ours.
 */
#include "postgres.h"

#include "base/relcache.h"

static RelcacheCallbackFunction watches[MAX_RELCACHE_WATCHES];
static int watch_count = 0;

static void
relcache_changed(Datum arg, Oid relation)
{
	for (int i = 0; i < watch_count; i++)
		watches[i](arg, relation);
}

void
relcache_watch(RelcacheCallbackFunction function)
{
	if (watch_count >= MAX_RELCACHE_WATCHES)
		elog(ERROR, "too many functions watch the relation cache");
	if (watch_count == 0)
		CacheRegisterRelcacheCallback(relcache_changed, (Datum) 0);
	watches[watch_count++] = function;
}
