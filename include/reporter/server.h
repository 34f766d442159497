/*
 * server.h - what a server says, as an auditor asks it.
 */
#ifndef BIOMETRIC_REPORTER_SERVER_H
#define BIOMETRIC_REPORTER_SERVER_H

#include "reporter/case.h"

typedef struct Server Server;

/* server_open connects; NULL: it cannot, which is reported. */
extern Server *server_open(const char *conninfo);

/* server_begin fills in what the report is of: an incident's party and period. */
extern ToolExit server_begin(Server *server, Case *matter);

/*
 * server_ask asks for all figures and lists, and the party's title. What they cover is
 * known within bounds, if the server is right: all entries below in_doubt, none from limit
 * on. Whoever counts an archive counts all of it, and asks again when it has more.
 */
extern ToolExit server_ask(Server *server, Case *matter, uint64_t *in_doubt, uint64_t *limit);

/* server_compare compares the lists of images and of people with a count. */
extern void server_compare(Server *server, Case *matter, const Count *count);

/* server_close gives back what server_open took; NULL is fine. */
extern void server_close(Server *server);

#endif
