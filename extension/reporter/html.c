/*
 * html.c - escaping, numbers, and the style sheet.
 */
#define _GNU_SOURCE

#include "reporter/html.h"

#include "reporter/member.h"
#include "reporter/moment.h"
#include "tool/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Writes characters that are safe on a terminal, escaped for HTML. */
static void
put_escaped(FILE *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		switch (text[i])
		{
			case '&':
				fputs("&amp;", out);
				break;
			case '<':
				fputs("&lt;", out);
				break;
			case '>':
				fputs("&gt;", out);
				break;
			case '"':
				fputs("&quot;", out);
				break;
			case '\'':
				fputs("&#39;", out);
				break;
			default:
				fputc(text[i], out);
		}
	}
}

static bool
is_simple(Span text)
{
	for (size_t i = 0; i < text.length; i++)
	{
		if (text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
			return false;
	}
	return true;
}

void
html_span(FILE *out, Span text)
{
	char *plain = NULL;
	size_t length = 0;
	FILE *memory;

	if (text.bytes == NULL)
		return;
	if (is_simple(text))
	{
		put_escaped(out, text.bytes, text.length);
		return;
	}
	memory = open_memstream(&plain, &length);
	if (memory == NULL)
		return;
	json_plain(memory, text.bytes, text.length);
	if (fclose(memory) == 0)
		put_escaped(out, plain, length);
	free(plain);
}

void
html_text(FILE *out, const char *text)
{
	html_span(out, (Span){text, strlen(text)});
}

void
html_value(FILE *out, const Texts *texts, uint32_t number, const char *none)
{
	if (number == 0)
		fprintf(out, "<span class=\"none\">%s</span>", none);
	else
		html_span(out, texts_get(texts, number));
}

void
html_words(FILE *out, Span json)
{
	Buffer text = {0};
	size_t at = 0;
	bool any = false;
	Span name;
	Span value;

	while (member_next(json, &at, &name, &value))
	{
		fputs(any ? ", " : "", out);
		html_span(out, name);
		fputs(": ", out);
		member_text(value, &text);
		html_span(out, (Span){(const char *) text.bytes, text.length});
		any = true;
	}
	if (!any)
		html_span(out, json);
	free(text.bytes);
}

void
html_number(FILE *out, uint64_t number)
{
	if (number >= 1000)
	{
		html_number(out, number / 1000);
		fprintf(out, ",%03u", (unsigned) (number % 1000));
	}
	else
		fprintf(out, "%u", (unsigned) number);
}

void
html_count(FILE *out, uint64_t number, const char *one, const char *many)
{
	html_number(out, number);
	fprintf(out, "&nbsp;%s", number == 1 ? one : many);
}

void
html_moment(FILE *out, int64_t moment)
{
	char words[MOMENT_TEXT_MAX];
	char iso[MOMENT_TEXT_MAX];

	moment_words(moment, words);
	moment_text(moment, iso);
	fprintf(out, "<time datetime=\"%s\">%s</time>", iso, words);
}

void
html_number_cell(FILE *out, uint64_t number)
{
	fputs("<td class=\"n\">", out);
	html_number(out, number);
	fputs("</td>", out);
}

void
html_moment_cell(FILE *out, int64_t moment)
{
	fputs("<td>", out);
	html_moment(out, moment);
	fputs("</td>", out);
}

void
html_bar(FILE *out, uint64_t value, uint64_t most)
{
	double width = most > 0 ? 100.0 * (double) value / (double) most : 0;

	if (value > 0 && width < 1)
		width = 1;
	fprintf(out,
			"<svg class=\"bar\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" "
			"aria-hidden=\"true\" focusable=\"false\"><rect class=\"track\" width=\"100\" "
			"height=\"10\"/><rect class=\"fill\" width=\"%.2f\" height=\"10\"/></svg>",
			width);
}

static const char style_screen[] =
	":root{--ink:#14202b;--soft:#4a5763;--rule:#cfd6dd;--pale:#f3f5f7;--blue:#1d4568;--light:#"
	"b9cde0;"
	"--red:#8f1d1d;--green:#1f5a32;--gold:#6b4e00}"
	"*{box-sizing:border-box}"
	"html{background:#e6eaee;-webkit-text-size-adjust:100%}"
	"body{margin:0 auto;max-width:66rem;background:#fff;color:var(--ink);padding:3rem 4rem 4rem;"
	"font:16px/1.55 \"Source Sans 3\",\"Segoe UI\",\"Helvetica Neue\",Arial,\"DejaVu "
	"Sans\",sans-serif}"
	"header{border-bottom:4px solid var(--blue);padding-bottom:1.4rem;margin-bottom:1.6rem}"
	".kicker{margin:0;font-size:.8rem;letter-spacing:.12em;text-transform:uppercase;color:var(--"
	"soft);"
	"font-weight:600}"
	"h1{font-size:2.1rem;line-height:1.2;margin:.3rem 0 1.1rem;overflow-wrap:anywhere}"
	"h2{font-size:1.35rem;line-height:1.25;margin:2.8rem 0 .7rem;padding-top:.6rem;"
	"border-top:1px solid var(--rule);color:var(--blue)}"
	"h3{font-size:1.02rem;margin:1.6rem 0 .4rem}"
	"p{margin:.5rem 0 .9rem;max-width:48rem}"
	"a{color:var(--blue)}"
	"dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.4rem;margin:0}"
	"dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;overflow-wrap:anywhere}"
	".verdict{border:2px solid;border-left-width:12px;padding:.8rem 1.2rem;margin:1.4rem 0}"
	".verdict p{margin:.25rem 0;max-width:none;overflow-wrap:anywhere}"
	".verdict strong{font-size:1.08rem}"
	".good{border-color:var(--green);background:#f0f7f2}.good strong{color:var(--green)}"
	".bad{border-color:var(--red);background:#fdf0f0}.bad strong{color:var(--red)}"
	".fair{border-color:var(--gold);background:#fdf8ea}.fair strong{color:var(--gold)}"
	".lead{font-size:1.2rem;line-height:1.5}"
	".tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:1rem;padding:0;margin:1.4rem "
	"0;list-style:none}"
	".tiles li{border-top:3px solid var(--blue);background:var(--pale);padding:.7rem 1rem}"
	".tiles b{display:block;font-size:1.9rem;line-height:1.15;font-variant-numeric:tabular-nums}"
	".tiles span{color:var(--soft);font-size:.92rem}";

static const char style_tables[] =
	"table{border-collapse:collapse;table-layout:fixed;width:100%;margin:1rem 0 "
	"1.6rem;font-size:.92rem}"
	"caption{text-align:left;font-weight:600;font-size:1.02rem;padding:.2rem 0 .4rem}"
	"th,td{text-align:left;vertical-align:top;padding:.34rem .7rem .34rem 0;"
	"border-bottom:1px solid var(--rule);overflow-wrap:anywhere}"
	"thead th{border-bottom:2px solid var(--ink);font-size:.9em;color:var(--soft);"
	"vertical-align:bottom;overflow-wrap:normal}.n{padding-left:.5rem}.n:last-child{padding-left:"
	"0;padding-right:0}"
	"tbody th{font-weight:400}"
	".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
	"col.v{width:32%}col.b{width:18%}col.c{width:11.5%}col.d{width:15.5%}td.b{vertical-align:"
	"middle}td.b,th.b{padding-right:1.6rem}.n+*{padding-left:.9rem}"
	".bar{display:block;width:100%;height:.72rem}.bar .track{fill:#e4e9ee}.bar "
	".fill{fill:var(--blue)}"
	".none{color:var(--soft);font-style:italic}"
	"ul.plain{margin:.4rem 0 1rem;padding-left:1.2rem}ul.plain li{margin:.2rem "
	"0;overflow-wrap:anywhere}"
	"pre{background:var(--pale);border:1px solid var(--rule);padding:.8rem 1rem;font-size:.82rem;"
	"line-height:1.45;white-space:pre-wrap;overflow-wrap:anywhere}"
	"code{font-size:.9em;overflow-wrap:anywhere}"
	"figure{margin:1.2rem 0}figcaption{font-size:.88rem;color:var(--soft);margin-top:.4rem}"
	".chart{display:block;width:100%;height:auto}"
	".chart text{font-family:inherit;font-size:12px;fill:#14202b}"
	".chart .axis{stroke:#14202b;stroke-width:1}.chart .grid{stroke:#d5dbe1;stroke-width:1}"
	".chart .out{fill:#1d4568}.chart .no{fill:url(#hatch);stroke:#14202b;stroke-width:.8}"
	".chart .mark{stroke:#8f1d1d;stroke-width:1.4;stroke-dasharray:5 3}"
	".chart .flag{fill:#fff;stroke:#8f1d1d;stroke-width:1.6}"
	".chart .flagtext{font-size:11px;font-weight:700;fill:#8f1d1d;text-anchor:middle}"
	".key{display:flex;flex-wrap:wrap;gap:.3rem 1.6rem}.key svg{width:1.6rem;height:.9rem;"
	"vertical-align:-1px;margin-right:.35rem}"
	".dot{display:inline-block;min-width:1.45rem;border:1.6px solid var(--red);border-radius:1rem;"
	"text-align:center;font-size:.78rem;font-weight:700;color:var(--red);line-height:1.3;padding:0 "
	".2rem}"
	"footer{margin-top:3rem;border-top:1px solid var(--rule);padding-top:.8rem;color:var(--soft);"
	"font-size:.86rem}"
	"@media screen and "
	"(max-width:50rem){body{padding:1.4rem}.tiles{grid-template-columns:repeat(2,1fr)}"
	"dl.facts{grid-template-columns:1fr}td.b,th.b,col.b{display:none}}";

static const char style_print[] =
	"@page{size:A4;margin:17mm 16mm 18mm}"
	"@media print{html{background:none}body{padding:0;max-width:none;font-size:10.2pt}"
	"h1{font-size:21pt}h2{break-after:avoid;margin-top:1.6rem}h3,caption{break-after:avoid}"
	"tr,figure,.verdict,.tiles,dl.facts{break-inside:avoid}thead{display:table-header-group}"
	"section.page{break-before:page}section.page>h2{border-top:0;margin-top:0}table{font-size:8."
	"6pt}"
	".lead{font-size:12pt}.tiles b{font-size:17pt}a{color:inherit;text-decoration:none}"
	".bar .track,.bar .fill,.tiles li,.verdict,.chart *{-webkit-print-color-adjust:exact;"
	"print-color-adjust:exact}}";

void
html_head(FILE *out, const Case *matter)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		  "<meta name=\"generator\" content=\"biometric-report\">\n"
		  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
		  "style-src 'unsafe-inline'\">\n"
		  "<meta name=\"referrer\" content=\"no-referrer\">\n<title>",
		  out);
	html_value(out, &matter->texts, matter->title, "Report");
	fprintf(out, "</title>\n<style>%s%s%s</style>\n</head>\n", style_screen, style_tables,
			style_print);
}
