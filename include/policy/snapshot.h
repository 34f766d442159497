/*
 * snapshot.h - a backend's copy of what is published about its own client.
 *
 * Only the client's network, that network's party and the party's permits
 * are kept: the network is matched once a generation. The copy lives in a
 * memory context of its own, which is replaced as a whole; the old one lasts
 * until the end of the transaction, for decisions that name its texts.
 */
#ifndef BIOMETRIC_POLICY_SNAPSHOT_H
#define BIOMETRIC_POLICY_SNAPSHOT_H

#include "datatype/timestamp.h"

#include "policy/client.h"
#include "policy/policy.h"
#include "policy/publish.h"

/* from inclusive, until exclusive; DT_NOBEGIN and DT_NOEND where unbounded */
typedef struct PolicyPeriod
{
	TimestampTz from;
	TimestampTz until;
} PolicyPeriod;

typedef struct PolicyPermit
{
	int64 id;
	uint32 kinds; /* bit 1 << kind */
	Delivery delivery;
	Oid relation; /* InvalidOid: any */
	PolicyPeriod valid;
	bool require_tls;
	bool mark;
	int64 quota;	/* 0: none */
	uint32 counter; /* of the quota */
	int purposes;	/* -1: any */
	char **purpose;
} PolicyPermit;

typedef struct PolicyView
{
	PublishState state;
	const char *network; /* NULL: none matches */
	const char *party;	 /* NULL: as network */
	PolicyPeriod contract;
	bool quarantined;
	int permits;
	PolicyPermit *permit;
} PolicyView;

/*
 * policy_view returns what is published for this session's client, read
 * again when the generation has changed. Borrowed until the next call.
 */
extern const PolicyView *policy_view(void);

/*
 * policy_view_build makes a view for this session's client out of the
 * published bytes of a database, in the current memory context. Its state is
 * PUBLISH_NOTHING when they are damaged or of another database.
 */
extern PolicyView *policy_view_build(const StringInfoData *blob, Oid database);

/* policy_view_of makes the view of any client, as policy_view_build does this session's. */
extern PolicyView *policy_view_of(const StringInfoData *blob, Oid database,
								  const ClientPlace *place);

/*
 * policy_view_of_party makes the view that a client of a party has, whatever its network, its
 * contract and quarantine left out: only the permits count. party: 0-based, in the order of the
 * published bytes. NULL when there is none, or the bytes are damaged.
 */
extern PolicyView *policy_view_of_party(const StringInfoData *blob, Oid database, uint32 party);

/*
 * policy_place_belongs tells whether a client's network is that of a party, by the published bytes
 * of a database. Allocates nothing, never raises.
 */
extern bool policy_place_belongs(const StringInfoData *blob, Oid database, const ClientPlace *place,
								 const char *party);

/* period_holds tells whether now lies in a period. */
extern bool period_holds(const PolicyPeriod *period, TimestampTz now);

#endif
