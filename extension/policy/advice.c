/*
 * advice.c - decisions in words.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "keyring/keyring.h"
#include "ledger/append.h"
#include "policy/advice.h"
#include "policy/quota.h"
#include "policy/snapshot.h"

const char *
advice_rule(Reason reason)
{
	switch (reason)
	{
		case REASON_PERMITTED:
			return "A permit says so.";
		case REASON_LEDGER_UNAVAILABLE:
			return "Nothing is released that the ledger cannot record.";
		case REASON_KEY_UNAVAILABLE:
			return "Nothing is released while the server has no usable keyring.";
		case REASON_STANDBY:
			return "A standby cannot record disclosures, so it releases nothing.";
		case REASON_NO_CLIENT:
			return "Images are opened for a client of the server only.";
		case REASON_UNREGISTERED_NETWORK:
			return "Images are released only to networks that are registered for a party.";
		case REASON_CONTRACT_EXPIRED:
			return "Images are released to a party only during its contract.";
		case REASON_QUARANTINED:
			return "Nothing is released to a party in quarantine.";
		case REASON_NO_PERMIT:
			return "Images are released only under a permit that is valid now for their kind and "
				   "relation.";
		case REASON_REFUSED_BY_PERMIT:
			return "A permit with delivery refuse wins over all others for the same relation.";
		case REASON_TLS_REQUIRED:
			return "The permit demands a connection encrypted by TLS.";
		case REASON_PURPOSE_MISSING:
			return "Images are opened only for a declared purpose.";
		case REASON_PURPOSE_NOT_PERMITTED:
			return "The permit does not allow the purpose that the session has declared.";
		case REASON_QUOTA_EXCEEDED:
			return "The quota of the permit is used up.";
		case REASON_RETENTION_EXPIRED:
			return "The period for which the image may be kept is over.";
		case REASON_IMPORTED:
			return "An image that came in sealed opens only for who may read the column it comes "
				   "from.";
		case REASON_NONE:
		default:
			return "What is not permitted is refused.";
	}
}

const char *
advice_rule_of(const Decision *decision)
{
	QuotaState state;

	if (decision->reason == REASON_KEY_UNAVAILABLE && decision->key != 0 && keyring_usable(NULL))
		return psprintf("An image is sealed under key %u, which the keyring does not have, or has "
						"another key in the place of.",
						decision->key);
	if (decision->reason != REASON_QUOTA_EXCEEDED)
		return advice_rule(decision->reason);
	state = quota_look(decision);
	if (state.quota == 0)
		return advice_rule(decision->reason);
	return psprintf("Permit %lld releases at most %lld images within %s; %lld are left now.",
					(long long) decision->permit, (long long) state.quota,
					quota_window_text(state.window), (long long) state.left);
}

/* When there will be room again, or why nobody knows. */
static char *
advice_quota(const Decision *decision)
{
	QuotaState state = quota_look(decision);

	if (!state.known)
		return psprintf("What permit %lld has released could not be counted: see the server's "
						"log.",
						(long long) decision->permit);
	if (state.left > 0)
		return psprintf("Read at most %lld images now, or ask a custodian for a larger quota "
						"(biometric.set_quota()).",
						(long long) state.left);
	return psprintf("There will be room again at %s; or ask a custodian for a larger quota "
					"(biometric.set_quota()).",
					timestamptz_to_str(state.room_at));
}

static char *
advice_register(void)
{
	const PolicyClient *client = policy_client();

	if (client->local)
		return pstrdup("A custodian can register the unix sockets with "
					   "biometric.register_local().");
	if (client->own_host)
		return psprintf("The client is on the server's own host, where only exactly %s/%d would "
						"match; a custodian can register it with biometric.register_network().",
						client->address, strchr(client->address, ':') ? 128 : 32);
	return psprintf("A custodian can register %s, or a network that contains it, with "
					"biometric.register_network().",
					client->address);
}

static char *
advice_ledger(void)
{
	Reason reason;
	const char *problem = NULL;

	if (IsTransactionState() && extension_created_here())
		return pstrdup("Commit the transaction that created the extension first.");
	if (!ledger_usable(&reason, &problem) && problem)
		return psprintf("The ledger cannot be written: %s. See biometric.ledger_status() and the "
						"server's log.",
						problem);
	if (policy_view()->state == PUBLISH_TOO_LARGE)
		return pstrdup("The policy does not fit into shared memory: increase "
					   "biometric_audit.policy_size and restart the server.");
	return pstrdup("The ledger's worker has not published the policy yet; try again, and see "
				   "biometric.ledger_status() and the server's log.");
}

static char *
advice_permitted(const Decision *decision)
{
	switch (decision->delivery)
	{
		case DELIVERY_OPEN:
			return pstrdup("Images are opened, and each is recorded in the ledger first.");
		case DELIVERY_OBSERVE:
			return pstrdup("Images are opened, and each is recorded in the ledger as observed.");
		case DELIVERY_SEALED:
			return pstrdup("Images are sent sealed only.");
		case DELIVERY_REFUSE:
		default:
			return pstrdup("Nothing is sent.");
	}
}

static char *
advice_for_reason(const Decision *decision, ImageKind kind)
{
	const char *party = decision->party ? decision->party : "";
	const char *kind_name = image_kind_name(kind) ? image_kind_name(kind) : "";
	long long permit = decision->permit;

	switch (decision->reason)
	{
		case REASON_PERMITTED:
			return advice_permitted(decision);
		case REASON_LEDGER_UNAVAILABLE:
			return advice_ledger();
		case REASON_KEY_UNAVAILABLE:
			if (decision->key != 0 && keyring_usable(NULL))
				return psprintf("An administrator must bring key %u back into the keyring, from a "
								"backup of it; view biometric.key says what is missing. Or leave "
								"the image out.",
								decision->key);
			return pstrdup("An administrator must see to biometric_audit.keyring: the server's log "
						   "says what is wrong with it.");
		case REASON_STANDBY:
			return pstrdup("Connect to the primary server.");
		case REASON_NO_CLIENT:
			return pstrdup("Read the images from a client connection.");
		case REASON_UNREGISTERED_NETWORK:
			return advice_register();
		case REASON_CONTRACT_EXPIRED:
			return psprintf("A custodian can renew the contract of party \"%s\" with "
							"biometric.register_party().",
							party);
		case REASON_QUARANTINED:
			return psprintf("A custodian can lift the quarantine of party \"%s\" with "
							"biometric.reinstate().",
							party);
		case REASON_NO_PERMIT:
			return psprintf("A custodian can permit %s images to party \"%s\" with "
							"biometric.authorize().",
							kind_name, party);
		case REASON_REFUSED_BY_PERMIT:
			return psprintf("A custodian can lift permit %lld with biometric.revoke().", permit);
		case REASON_TLS_REQUIRED:
			return psprintf("Permit %lld demands TLS: connect with sslmode=require or stricter.",
							permit);
		case REASON_PURPOSE_MISSING:
			return pstrdup("Declare what the images are needed for: SET biometric_audit.purpose = "
						   "'...'.");
		case REASON_PURPOSE_NOT_PERMITTED:
			return psprintf("Declare a purpose that permit %lld allows, or ask a custodian for a "
							"permit for purpose \"%s\".",
							permit, policy_purpose() ? policy_purpose() : "");
		case REASON_QUOTA_EXCEEDED:
			return advice_quota(decision);
		case REASON_RETENTION_EXPIRED:
			return pstrdup("The image should be purged.");
		case REASON_IMPORTED:
			return pstrdup("A custodian can adopt sealed images that were restored.");
		case REASON_NONE:
		default:
			return pstrdup("Ask a custodian.");
	}
}

char *
advice_what_to_do(const Decision *decision, ImageKind kind)
{
	char *advice = advice_for_reason(decision, kind);

	if (decision->delivery != DELIVERY_OBSERVE || decision->reason == REASON_PERMITTED)
		return advice;
	return psprintf(
		"Images are opened, and each is recorded in the ledger as observed. Were the rules "
		"enforced: %s",
		advice);
}
