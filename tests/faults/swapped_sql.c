/* Loaded before libpq (LD_PRELOAD), has one statement prepared with another text: that of the file SWAPPED_TEXT for
 * the statement called SWAPPED_NAME. SWAPPED_USED is made when it happens, SWAPPED_REFUSED when Postgres does not take
 * the text. With SWAPPED_TRACE set, the name of each statement that is executed is written to standard output, after
 * "SQL ", so that it stands below the test that executed it. See mutate_sql.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void mark(const char *variable) {
  FILE *file = fopen(getenv(variable), "w");
  if (file != NULL) fclose(file);
}

static char *read_text(const char *path) {
  FILE *file = fopen(path, "r");
  if (file == NULL) abort();
  fseek(file, 0, SEEK_END);
  const long size = ftell(file);
  rewind(file);
  char *text = malloc(size + 1);
  if (text == NULL || fread(text, 1, size, file) != (size_t)size) abort();
  text[size] = '\0';
  fclose(file);
  return text;
}

typedef PGresult *Prepare(PGconn *, const char *, const char *, int, const Oid *);

PGresult *PQprepare(PGconn *connection, const char *name, const char *query, int count, const Oid *types) {
  static Prepare *next;
  if (next == NULL) next = (Prepare *)dlsym(RTLD_NEXT, "PQprepare");
  const char *swapped = getenv("SWAPPED_NAME");
  if (swapped == NULL || strcmp(name, swapped) != 0) return next(connection, name, query, count, types);
  char *text = read_text(getenv("SWAPPED_TEXT"));
  PGresult *result = next(connection, name, text, count, types);
  free(text);
  mark("SWAPPED_USED");
  /* Of class 42, the text's own fault: not a lost connection. */
  const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (state != NULL && strncmp(state, "42", 2) == 0) mark("SWAPPED_REFUSED");
  return result;
}

static void trace(const char *name) {
  if (getenv("SWAPPED_TRACE") == NULL) return;
  char line[128];
  const int size = snprintf(line, sizeof line, "\nSQL %s\n", name);
  if (size > 0 && write(STDOUT_FILENO, line, (size_t)size) != size) abort();
}

typedef PGresult *Execute(PGconn *, const char *, int, const char *const *, const int *, const int *, int);

PGresult *PQexecPrepared(PGconn *connection, const char *name, int count, const char *const *values, const int *lengths,
                         const int *formats, int result_format) {
  static Execute *next;
  if (next == NULL) next = (Execute *)dlsym(RTLD_NEXT, "PQexecPrepared");
  trace(name);
  return next(connection, name, count, values, lengths, formats, result_format);
}
