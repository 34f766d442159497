/*
 * declared.h - what images were declared to be collected for: as the entries of collect() say,
 * and as the server does in biometric.declared_collection.
 *
 * A declaration has a name of its own, so that the two are compared whatever a table or a column
 * is called by now. An entry says which declaration it ends, and which one it makes.
 */
#ifndef BIOMETRIC_REPORTER_DECLARED_H
#define BIOMETRIC_REPORTER_DECLARED_H

#include "core/entry.h"
#include "reporter/figures.h"

/* What is said of a declaration; the first two may be other names by now. */
typedef enum DeclaredMember
{
	DECLARED_RELATION,
	DECLARED_COLUMN,
	DECLARED_PURPOSE,
	DECLARED_LEGAL_BASIS,
	DECLARED_MAX_WIDTH,
	DECLARED_MAX_HEIGHT,
	DECLARED_FORMATS,
	DECLARED_MAX_PER_DAY
} DeclaredMember;

#define DECLARED_MEMBERS (DECLARED_MAX_PER_DAY + 1)

/* Numbers of texts; 0: not said. */
typedef struct Declared
{
	uint32_t declaration; /* 0: the column is not declared, as only the server can know */
	uint32_t said[DECLARED_MEMBERS];
	uint32_t kind;	   /* of image; only the server says it */
	bool ended;		   /* another entry ended it */
	bool recorded;	   /* an entry made it: */
	uint64_t sequence; /* that one's number, */
	int64_t at;		   /* and its time */
	uint32_t by;	   /* the login */
} Declared;

typedef struct DeclaredList
{
	Declared *items;
	uint32_t count;
	uint32_t capacity;
	NumberMap index; /* by declaration */
} DeclaredList;

/* declared_member_name returns "purpose" and so on. */
extern const char *declared_member_name(DeclaredMember member);

/*
 * declared_add adds a declaration, or a column without one (0), and returns it, valid until the
 * next is added.
 */
extern Declared *declared_add(DeclaredList *list, uint32_t declaration);

/* declared_find returns a declaration, NULL when it is not in the list. */
extern Declared *declared_find(const DeclaredList *list, uint32_t declaration);

/*
 * declared_learn takes an entry policy_changed; false: it is not one of collect(). by: the login's
 * number.
 */
extern bool declared_learn(DeclaredList *list, Texts *texts, uint64_t sequence,
						   const EntryFields *fields, uint32_t by);

/*
 * declared_compare compares what a server says with the entries, both ways. Moments and logins go
 * from the entries to the server's list, which is the one to show.
 */
extern void declared_compare(DeclaredList *server, const DeclaredList *recorded, const Texts *texts,
							 Comparison *comparison);

/* declared_free gives its memory back. */
extern void declared_free(DeclaredList *list);

#endif
