/*
 * scrub.h - takes long literals out of text that people will read.
 *
 * Works in place: what is put in is never longer than what it replaces, so
 * nothing is allocated and nothing can fail. Linear in the text's length. A
 * guess at where a literal ends errs on the side of cutting more.
 */
#ifndef BIOMETRIC_CORE_SCRUB_H
#define BIOMETRIC_CORE_SCRUB_H

#include <stdbool.h>
#include <stddef.h>

/* What a text is, which says what an apostrophe or a quotation mark in it means. */
typedef enum ScrubKind
{
	SCRUB_SQL,	  /* statements, exactly as a lexer reads them */
	SCRUB_QUOTED, /* words with statements in them, perhaps in quotation marks */
	SCRUB_PROSE	  /* words: an apostrophe after a letter begins nothing */
} ScrubKind;

typedef struct ScrubRules
{
	ScrubKind kind;
	size_t limit;	  /* bytes a literal may have; at least SCRUB_LIMIT_MIN */
	bool backslash;	  /* '..' knows backslash escapes (standard_conforming_strings = off) */
	bool doubled;	  /* each backslash was doubled by whoever quoted the statement (JSON) */
	bool every;		  /* scrub_text: shorter literals become '?' */
	bool excerpts;	  /* what ends in "..." is the beginning of something longer: cut it */
	size_t prose_max; /* SCRUB_PROSE: a text longer than this goes as a whole; 0: no limit */
} ScrubRules;

#define SCRUB_LIMIT_MIN 32

/*
 * scrub_text replaces in text, of length bytes and a zero byte after them:
 * bodies of literals ('..', E'', U&'', B'', X'', N'', $tag$..$tag$, also
 * unterminated) longer than the limit; unbroken runs of characters as hex and
 * base64 have them, broken by newlines as encode() does or not at all; in
 * prose, what stands in quotation marks and, after "=(", in parentheses, when
 * it is longer than the limit; each value of a bound parameter, "$1 = 'x'",
 * whatever its length. Returns the new length; text[it] is a zero byte.
 */
extern size_t scrub_text(char *text, size_t length, const ScrubRules *rules);

/*
 * scrub_conceal overwrites the bodies of literals longer than the limit with
 * filling of the same length, so that a lexer finds the same tokens at the
 * same places. text is read as SCRUB_SQL. Returns how many were overwritten.
 */
extern size_t scrub_conceal(char *text, size_t length, const ScrubRules *rules);

/* scrub_all replaces a whole text by a note of its length, if the note is shorter. */
extern size_t scrub_all(char *text, size_t length);

#endif
