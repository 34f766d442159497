/*
 * file.h - files, read and written with care for what they might be instead.
 */
#ifndef BIOMETRIC_TOOL_FILE_H
#define BIOMETRIC_TOOL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that grows; free bytes. Zero-initialise. */
typedef struct Buffer
{
	uint8_t *bytes;
	size_t length;
	size_t capacity;
} Buffer;

typedef enum FileResult
{
	FILE_OK = 0,
	FILE_MISSING,
	FILE_LINK,		   /* a symbolic link where none may be */
	FILE_NO_FILE,	   /* a directory, device, socket, pipe */
	FILE_TOO_LARGE,	   /* larger than a file of its kind can be */
	FILE_WRONG_LENGTH, /* not as long as a file of its kind and name is */
	FILE_UNREADABLE	   /* errno says why */
} FileResult;

/* buffer_reserve makes room for capacity bytes in all; ends the program when there is no memory. */
extern void buffer_reserve(Buffer *buffer, size_t capacity);

/*
 * buffer_trim takes the white space around a text away and ends it in one
 * newline, as notes and proofs are before editors, shells and psql have had
 * them; an empty text stays empty.
 */
extern void buffer_trim(Buffer *buffer);

/*
 * file_read reads a whole file of at most limit bytes. directory: descriptor
 * of the directory that path is relative to, in which no symbolic link is
 * followed, be it a directory's on the way; AT_FDCWD: a path that the user gave,
 * in which they are. Never waits for a pipe. The buffer's contents are undefined
 * on failure; its memory is used again.
 */
extern FileResult file_read(int directory, const char *path, size_t limit, Buffer *buffer);

/* file_read_stdin reads standard input to its end. */
extern FileResult file_read_stdin(size_t limit, Buffer *buffer);

/*
 * file_result_text returns what to say of a failure: "is missing" and so on; errno
 * must be what it was.
 */
extern const char *file_result_text(FileResult result);

/* file_exists tells whether there is a plain file of that length; length 0: of any. */
extern bool file_exists(int directory, const char *path, uint64_t length);

/*
 * file_write puts a file in place in one step, making the directories before
 * it: it is there as a whole, or as it was. Only its owner can read it; no
 * symbolic link is followed. durable: flushed to disk, with the directory that
 * it is in. False with errno set on failure.
 */
extern bool file_write(int directory, const char *path, const void *bytes, size_t length,
					   bool durable);

/*
 * file_remove_directory removes a directory and the files in it, as far as they
 * can be.
 */
extern void file_remove_directory(int directory, const char *path);

#endif
