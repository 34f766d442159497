/*
 * declared.c - what images were declared to be collected for, replayed and compared.
 */
#define _GNU_SOURCE

#include "reporter/declared.h"

#include "reporter/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As in the entries and in the view. */
static const char *const member_names[DECLARED_MEMBERS] = {
	[DECLARED_RELATION] = "relation",	[DECLARED_COLUMN] = "column",
	[DECLARED_PURPOSE] = "purpose",		[DECLARED_LEGAL_BASIS] = "legal_basis",
	[DECLARED_MAX_WIDTH] = "max_width", [DECLARED_MAX_HEIGHT] = "max_height",
	[DECLARED_FORMATS] = "formats",		[DECLARED_MAX_PER_DAY] = "max_per_subject_per_day"};

const char *
declared_member_name(DeclaredMember member)
{
	return member_names[member];
}

Declared *
declared_add(DeclaredList *list, uint32_t declaration)
{
	list->items = list_grow(list->items, list->count, &list->capacity, sizeof(Declared));
	list->items[list->count] = (Declared){.declaration = declaration};
	if (declaration != 0)
		*map_place(&list->index, declaration) = list->count + 1;
	return &list->items[list->count++];
}

Declared *
declared_find(const DeclaredList *list, uint32_t declaration)
{
	uint32_t place = map_find(&list->index, declaration);

	return place == 0 ? NULL : &list->items[place - 1];
}

/* The number of a member's text; of an array as jsonb prints it. */
static uint32_t
member_number_of(Texts *texts, Span detail, const char *name)
{
	static Buffer text;
	Span value;

	if (!member_find(detail, name, &value))
		return 0;
	if (value.bytes[0] == '[' || value.bytes[0] == '{')
		member_plain(value, &text);
	else
		member_text(value, &text);
	return texts_add(texts, (const char *) text.bytes, text.length);
}

bool
declared_learn(DeclaredList *list, Texts *texts, uint64_t sequence, const EntryFields *fields,
			   uint32_t by)
{
	static Buffer action;
	Span detail = {fields->detail.bytes, fields->detail.length};
	uint32_t replaces;
	uint32_t declaration;
	Declared *declared;

	if (!member_string(detail, "action", &action) ||
		strcmp((const char *) action.bytes, "collect") != 0)
		return false;
	replaces = member_number_of(texts, detail, "replaces");
	declared = replaces != 0 ? declared_find(list, replaces) : NULL;
	if (declared != NULL)
		declared->ended = true;
	declaration = member_number_of(texts, detail, "declaration");
	if (declaration == 0)
		return true;
	declared = declared_add(list, declaration);
	for (int i = 0; i < DECLARED_MEMBERS; i++)
		declared->said[i] = member_number_of(texts, detail, member_names[i]);
	declared->recorded = true;
	declared->sequence = sequence;
	declared->at = fields->at;
	declared->by = by;
	return true;
}

static void
compare_declared(Declared *server, const Declared *recorded, const Texts *texts,
				 Comparison *comparison)
{
	Span name = texts_get(texts, server->said[DECLARED_RELATION]);
	char text[64];

	if (recorded == NULL || recorded->ended)
	{
		compare_texts(comparison, "a declared collection", name, (Span){"some", 4}, (Span){0});
		return;
	}
	for (int i = DECLARED_PURPOSE; i < DECLARED_MEMBERS; i++)
	{
		snprintf(text, sizeof(text), "declared %s", member_names[i]);
		compare_texts(comparison, text, name, texts_get(texts, server->said[i]),
					  texts_get(texts, recorded->said[i]));
	}
	server->recorded = true;
	server->sequence = recorded->sequence;
	server->at = recorded->at;
	server->by = recorded->by;
}

void
declared_compare(DeclaredList *server, const DeclaredList *recorded, const Texts *texts,
				 Comparison *comparison)
{
	for (uint32_t i = 0; i < server->count; i++)
		if (server->items[i].declaration != 0)
			compare_declared(&server->items[i],
							 declared_find(recorded, server->items[i].declaration), texts,
							 comparison);
	for (uint32_t i = 0; i < recorded->count; i++)
	{
		const Declared *declared = &recorded->items[i];

		if (!declared->ended && declared_find(server, declared->declaration) == NULL)
			compare_texts(comparison, "a declared collection",
						  texts_get(texts, declared->said[DECLARED_RELATION]), (Span){0},
						  (Span){"some", 4});
	}
}

void
declared_free(DeclaredList *list)
{
	free(list->items);
	map_free(&list->index);
	*list = (DeclaredList){0};
}
