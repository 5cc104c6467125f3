// What of MPI is used, as functions: handles such as MPI_COMM_WORLD are macros, which Swift does not
// import, and their types differ from one implementation to the next (a pointer in Open MPI, a number
// in MPICH). Wrapped in structures they are one type for both.
#ifndef ATTNBENCH_MPI_SHIM_H
#define ATTNBENCH_MPI_SHIM_H

#include <mpi.h>
#include <string.h>

typedef struct {
  MPI_Request handle;
} attn_mpi_request;

typedef struct {
  MPI_Comm handle;
} attn_mpi_comm;

enum { ATTN_MPI_TEXT = MPI_MAX_ERROR_STRING > MPI_MAX_LIBRARY_VERSION_STRING
                           ? MPI_MAX_ERROR_STRING
                           : MPI_MAX_LIBRARY_VERSION_STRING };

// Starts MPI for calls from one thread at a time, on a communicator of its own, so that tags meet no others.
// Errors are returned: MPI's own way is to end the program without saying what it did.
static inline int attn_mpi_start(attn_mpi_comm *comm) {
  int provided = 0;
  int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
  if (code != MPI_SUCCESS) return code;
  if (provided < MPI_THREAD_SERIALIZED) return MPI_ERR_UNSUPPORTED_OPERATION;
  code = MPI_Comm_dup(MPI_COMM_WORLD, &comm->handle);
  if (code != MPI_SUCCESS) return code;
  return MPI_Comm_set_errhandler(comm->handle, MPI_ERRORS_RETURN);
}

static inline int attn_mpi_finish(attn_mpi_comm comm) {
  MPI_Comm_free(&comm.handle);
  return MPI_Finalize();
}

static inline int attn_mpi_is_started(void) {
  int started = 0;
  MPI_Initialized(&started);
  return started;
}

static inline int attn_mpi_rank(attn_mpi_comm comm) {
  int rank = 0;
  MPI_Comm_rank(comm.handle, &rank);
  return rank;
}

static inline int attn_mpi_size(attn_mpi_comm comm) {
  int size = 1;
  MPI_Comm_size(comm.handle, &size);
  return size;
}

static inline int attn_mpi_send(const void *bytes, int count, int to, int tag, attn_mpi_comm comm,
                                attn_mpi_request *request) {
  return MPI_Isend(bytes, count, MPI_BYTE, to, tag, comm.handle, &request->handle);
}

static inline int attn_mpi_receive(void *bytes, int count, int from, int tag, attn_mpi_comm comm,
                                   attn_mpi_request *request) {
  return MPI_Irecv(bytes, count, MPI_BYTE, from, tag, comm.handle, &request->handle);
}

// Also lets the library move messages: it does so inside calls only.
static inline int attn_mpi_test(attn_mpi_request *request, int *done) {
  return MPI_Test(&request->handle, done, MPI_STATUS_IGNORE);
}

static inline void attn_mpi_cancel(attn_mpi_request *request) {
  int done = 0;
  if (MPI_Test(&request->handle, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done) return;
  MPI_Cancel(&request->handle);
  MPI_Wait(&request->handle, MPI_STATUS_IGNORE);
}

static inline void attn_mpi_abort(attn_mpi_comm comm, int code) { MPI_Abort(comm.handle, code); }

static inline void attn_mpi_error_text(int code, char *text) {
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) strcpy(text, "unknown error");
}

static inline void attn_mpi_library_text(char *text) {
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) strcpy(text, "unknown");
}

#endif
