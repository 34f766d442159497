/*
 * commands.h - what the program can do; each is one page of biometric-verify(1).
 *
 * Each returns how the program is to end, and has reported why.
 */
#ifndef BIOMETRIC_TOOL_COMMANDS_H
#define BIOMETRIC_TOOL_COMMANDS_H

#include "tool/options.h"
#include "tool/report.h"

/* command_verify reads an archive's every entry and compares all hashes and signatures. */
extern ToolExit command_verify(const Options *options);

/* command_segment verifies the entries of one segment and reports its root. */
extern ToolExit command_segment(const Options *options);

/* command_proof verifies that one entry is in the ledger. */
extern ToolExit command_proof(const Options *options);

/* command_consistency verifies that one checkpoint's ledger is the beginning of another's. */
extern ToolExit command_consistency(const Options *options);

/* command_show prints entries; it verifies nothing. */
extern ToolExit command_show(const Options *options);

/* command_fetch brings an archive up to date from a server. */
extern ToolExit command_fetch(const Options *options);

#endif
