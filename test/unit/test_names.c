/*
 * test_names.c - codes and names: all there, all different, and none for what
 * is no code. Codes are stored, so that their numbers are checked as well.
 */
#include "core/entry.h"
#include "core/formats.h"
#include "core/kinds.h"
#include "core/status.h"
#include "tap.h"

typedef const char *(*NameOf)(int code);

/* Checks that first to last have the given names and that their neighbours have none. */
static void
check_names(const char *what, NameOf name_of, int first, const char *const *names, int count)
{
	long failed = 0;

	for (int i = 0; i < count; i++)
	{
		const char *name = name_of(first + i);

		failed += name == NULL || strcmp(name, names[i]) != 0;
	}
	tap_ok(failed == 0, "the %s have the names of the contract", what);
	tap_ok(name_of(first - 1) == NULL && name_of(first + count) == NULL && name_of(-1) == NULL &&
			   name_of(INT32_MAX) == NULL && name_of(INT32_MIN) == NULL,
		   "codes beside the %s have none", what);
}

static void
check_status(void)
{
	long failed = 0;

	for (int a = CORE_OK; a <= CORE_CRYPTO_FAILURE; a++)
	{
		const char *text = core_status_text((CoreStatus) a);

		failed += strcmp(text, "unknown status") == 0 || text[strlen(text) - 1] == '.';
		for (int b = CORE_OK; b < a; b++)
			failed += strcmp(text, core_status_text((CoreStatus) b)) == 0;
	}
	tap_all(failed, CORE_CRYPTO_FAILURE + 1, -1, "each status has a phrase of its own");
	tap_ok(strcmp(core_status_text((CoreStatus) 99), "unknown status") == 0,
		   "a status that is none says so");
}

int
main(void)
{
	static const char *const kinds[] = {"face", "plate", "document", "fingerprint", "iris"};
	static const char *const formats[] = {"jpeg", "png", "jp2", "j2k", "wsq",
										  "fir",  "fac", "iir", "an2k"};
	static const char *const events[] = {
		"session",	   "statement",	  "disclosed",		"observed",	   "exported_sealed",
		"refused",	   "stored",	  "replaced",		"erased",	   "truncated",
		"dropped",	   "aborted",	  "policy_changed", "key_changed", "purged",
		"ddl_refused", "replication", "forked",			"incident",
	};
	static const char *const reasons[] = {
		"none",
		"permitted",
		"ledger_unavailable",
		"key_unavailable",
		"standby",
		"no_client",
		"unregistered_network",
		"contract_expired",
		"quarantined",
		"no_permit",
		"refused_by_permit",
		"tls_required",
		"purpose_missing",
		"purpose_not_permitted",
		"quota_exceeded",
		"retention_expired",
		"imported",
	};
	static const char *const operations[] = {
		"none",	  "insert", "update", "delete",	  "truncate",
		"create", "drop",	"adopt",  "describe", "reseal",
	};
	long failed = 0;

	check_names("kinds", image_kind_name, 1, kinds, 5);
	check_names("formats", image_format_name, 1, formats, 9);
	check_names("events", entry_event_name, 1, events, 19);
	check_names("operations", operation_name, 0, operations, 10);
	check_names("reasons", reason_name, 0, reasons, 17);
	for (int kind = 1; kind <= IMAGE_KIND_LAST; kind++)
		failed += image_kind_from_name(kinds[kind - 1]) != (ImageKind) kind;
	failed += image_kind_from_name("") != IMAGE_KIND_NONE;
	failed += image_kind_from_name("Face") != IMAGE_KIND_NONE;
	failed += image_kind_from_name("face_image") != IMAGE_KIND_NONE;
	tap_all(failed, 8, -1, "kinds are found by their names, and nothing else is a kind");
	check_status();
	return tap_done();
}
