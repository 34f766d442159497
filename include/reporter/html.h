/*
 * html.h - pieces of HTML and SVG that the sections of a report are made of.
 */
#ifndef BIOMETRIC_REPORTER_HTML_H
#define BIOMETRIC_REPORTER_HTML_H

#include "reporter/case.h"

/* html_span writes a text, escaped for HTML and SVG, in content or a quoted attribute. */
extern void html_span(FILE *out, Span text);

/* html_text is html_span for a text that ends in a NUL. */
extern void html_text(FILE *out, const char *text);

/* html_value writes the text of a number, or `none` where there is none. */
extern void html_value(FILE *out, const Texts *texts, uint32_t number, const char *none);

/*
 * html_words writes a JSON object as words: "site: San Ysidro, lane: 7"; anything else as
 * it is.
 */
extern void html_words(FILE *out, Span json);

/* html_number writes a number in groups of three digits. */
extern void html_number(FILE *out, uint64_t number);

/* html_count writes a number and the one or the other word. */
extern void html_count(FILE *out, uint64_t number, const char *one, const char *many);

/* html_moment writes a moment for people. */
extern void html_moment(FILE *out, int64_t moment);

/* html_head writes all that comes before the body, with the style sheet. */
extern void html_head(FILE *out, const Case *matter);

/* html_number_cell and html_moment_cell write a cell of a table. */
extern void html_number_cell(FILE *out, uint64_t number);
extern void html_moment_cell(FILE *out, int64_t moment);

/* html_bar writes a bar of value in most as an image that says nothing which is not beside it. */
extern void html_bar(FILE *out, uint64_t value, uint64_t most);

/* html_timeline draws disclosures and refusals by day, and marks what happened. */
extern void html_timeline(FILE *out, const Case *matter);

/* html_step says what an entry has changed or noted, in a sentence if it is a usual one. */
extern void html_step(FILE *out, const Case *matter, const Notable *notable);

/* html_terms says what an authorization allows, by the detail of the entry that gave it. */
extern void html_terms(FILE *out, Span detail);

/* html_mark_of tells the number that a notable has in the timeline; 0: it is not in it. */
extern unsigned html_mark_of(const Case *matter, const Notable *notable);

/* html_summary, html_evidence write sections that are made of sentences. */
extern void html_summary(FILE *out, const Case *matter);
extern void html_evidence(FILE *out, const Case *matter);

/* html_tables writes the sections that are made of tables of figures. */
extern void html_tables(FILE *out, const Case *matter);

/* html_declared writes what images are collected for. */
extern void html_declared(FILE *out, const Case *matter);

/* html_beside writes what happened besides: changes of the policy, refusals, terms. */
extern void html_beside(FILE *out, const Case *matter);

/* html_people writes whom to notify. */
extern void html_people(FILE *out, const Case *matter);

#endif
