// Attention over n tokens, from C: libattnbench.so.
//
// Letters of shapes: b sequences of a batch, h query heads, hKV key/value heads (h is a multiple of
// hKV; query head i reads key/value head i / (h / hKV)), nQ query rows, nKV key rows, d columns of
// queries and keys, dV columns of values and outputs.
//
//   O = softmax(softcap(scale * Q K^T) + bias + alibi, masked) V
//
// A query row that sees no key gives 0 and LSE -infinity. NaN and infinity in rows that nobody sees
// reach nothing.
//
// Use: a team of threads, a plan for one problem on the team, the plan run any number of times.
// What a plan reads of a problem is copied, and its workspace allocated, when it is made.
//
// Errors: functions that can fail return an attnbench_status; attnbench_last_error() then has one
// line that names the argument, its value, the rule and the fix. Nothing is written to results on
// an error.
//
// Threads: every function may be called from any thread at any time. Runs of one plan, and steps of
// one decoder, take turns; plans of one team share its threads. A handle that was destroyed, or is
// none, is an error and not a crash; destroying waits for nobody and is safe during a run.
//
// fork: handles made before a fork are ATTNBENCH_FORKED in the child, whose threads they are not.
// The child makes its own.
#ifndef ATTNBENCH_H
#define ATTNBENCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Rises when an existing declaration changes its meaning. Structures may grow at their end without:
/// that is what their field `size` is for.
#define ATTNBENCH_ABI_VERSION 1

typedef struct attnbench_team attnbench_team;
typedef struct attnbench_plan attnbench_plan;
typedef struct attnbench_decoder attnbench_decoder;

/// What functions return.
typedef enum attnbench_status {
  ATTNBENCH_OK = 0,
  ATTNBENCH_INVALID_ARGUMENT = 1,    ///< a value out of its range, a null pointer, no such handle
  ATTNBENCH_SHAPE_MISMATCH = 2,      ///< a tensor's shape, type or strides do not fit
  ATTNBENCH_TOO_LARGE = 3,           ///< sizes that cannot be addressed or counted
  ATTNBENCH_OUT_OF_MEMORY = 4,       ///< the system refused memory
  ATTNBENCH_CAPACITY_EXHAUSTED = 5,  ///< a decoder has no room for the tokens
  ATTNBENCH_NOT_FINITE = 6,          ///< NaN or infinity that would have to become an 8-bit integer
  ATTNBENCH_UNKNOWN_STRATEGY = 7,    ///< a strategy's name or parameter is not known
  ATTNBENCH_THREADS = 8,             ///< threads could not be started or bound
  ATTNBENCH_FORKED = 9               ///< the handle was made before a fork, in the parent
} attnbench_status;

/// How elements are stored. Sums are fp32 in any case.
typedef enum attnbench_element_type {
  ATTNBENCH_F32 = 0,
  ATTNBENCH_F16 = 1,
  ATTNBENCH_BF16 = 2,
  /// Keys and values only: 8-bit integers, each row followed, at the next multiple of four bytes, by
  /// its fp32 scale.
  ATTNBENCH_INT8_TOKEN = 3,
  /// Keys and values only: 8-bit integers with attnbench_tensor.channel_scales.
  ATTNBENCH_INT8_CHANNEL = 4,
  /// Masks only: one byte, 0 hides.
  ATTNBENCH_BOOL = 5
} attnbench_element_type;

/// Where query i stands among the keys, for causal masks, windows and slopes: at key i + offset.
typedef enum attnbench_alignment {
  ATTNBENCH_BOTTOM_RIGHT = 0,  ///< offset nKV - nQ: the last query stands at the last key in use
  ATTNBENCH_TOP_LEFT = 1,      ///< offset 0
  ATTNBENCH_FIXED = 2,         ///< attnbench_problem.offset
  ATTNBENCH_PER_BATCH = 3      ///< attnbench_problem.offsets
} attnbench_alignment;

/// What a strategy computes.
typedef enum attnbench_class {
  ATTNBENCH_EXACT = 0,       ///< softmax over all visible keys
  ATTNBENCH_RESTRICTED = 1,  ///< softmax over a subset of them
  ATTNBENCH_DIFFERENT = 2    ///< another function
} attnbench_class;

/// A tensor of four axes in the caller's memory. Zero-filled, it is no tensor.
///
/// Strides count elements, are not negative, and mean nothing where the axis has size 1. Operands of
/// runs have contiguous rows, strides[3] = 1 (an int8-token row has its scale inside strides[2]);
/// masks and biases may have any strides, 0 for an axis that repeats. The address is a multiple of
/// an element's size.
typedef struct attnbench_tensor {
  void *data;
  uint32_t type;      ///< attnbench_element_type
  uint32_t reserved;  ///< 0
  int64_t shape[4];
  int64_t strides[4];
  const float *channel_scales;  ///< [b, hKV, columns], ATTNBENCH_INT8_CHANNEL only; else NULL
} attnbench_tensor;

/// What is to be computed. Set `size` to sizeof(attnbench_problem) and fill the rest with zeros:
/// each zero is a default.
typedef struct attnbench_problem {
  uint32_t size;
  uint32_t causal;  ///< 1: a query sees only keys up to where it stands
  int64_t batch;         ///< b; 0 means 1
  int64_t heads;         ///< h
  int64_t kv_heads;      ///< hKV; 0 means h
  int64_t query_length;  ///< nQ
  int64_t key_length;    ///< nKV; 0 means nQ
  int64_t head_dim;      ///< d
  int64_t value_dim;     ///< dV; 0 means d
  uint32_t query_type;      ///< attnbench_element_type: f32, f16 or bf16
  uint32_t key_value_type;  ///< attnbench_element_type of keys and of values
  uint32_t output_type;     ///< attnbench_element_type: f32, f16 or bf16
  uint32_t alignment;       ///< attnbench_alignment
  int64_t offset;           ///< for ATTNBENCH_FIXED
  const int64_t *offsets;   ///< [b], for ATTNBENCH_PER_BATCH; else NULL
  uint32_t has_scale;  ///< 0: the scale is 1 / sqrt(d)
  float scale;         ///< the factor on the scores
  float softcap;       ///< c of c * tanh(x / c) on the scaled scores; 0 for none
  uint32_t reserved;   ///< 0
  const float *sink_logits;      ///< [h], each adds exp(logit) to its head's denominators; or NULL
  const float *alibi_slopes;     ///< [h], slope m adds -m |i + offset - j|; or NULL
  const int64_t *query_lengths;  ///< [b], rows in use; or NULL for all
  const int64_t *key_lengths;    ///< [b], rows in use; or NULL for all
  const int64_t *prefix_lengths;  ///< [b], leading keys that a causal mask does not hide; or NULL
  attnbench_tensor mask;  ///< [b or 1, h or 1, nQ or 1, at most nKV], ATTNBENCH_BOOL: 0 hides
  attnbench_tensor bias;  ///< the same shapes, f32, f16 or bf16, added to scores; -infinity hides
  uint32_t has_window_left;   ///< 0: a query sees all keys before it
  uint32_t has_window_right;  ///< 0: a query sees all keys after it, unless a causal mask hides them
  int64_t window_left;        ///< keys before where it stands that a query sees
  int64_t window_right;       ///< keys after it, likewise
  int64_t chunk;  ///< positions of a chunk, counted from 0, which sees only itself; 0: no chunks
} attnbench_problem;

/// A tensor that a strategy takes beyond query, key and value; attnbench_strategies() lists them.
typedef struct attnbench_named_tensor {
  const char *name;         ///< "decay"
  attnbench_tensor tensor;  ///< f32, axes as declared, then 1s up to four
} attnbench_named_tensor;

/// The tensors of one run. Set `size`; the rest may be zeros where it says so. Outputs overlap
/// neither themselves nor another tensor.
typedef struct attnbench_operands {
  uint32_t size;
  uint32_t named_count;     ///< of `named`
  attnbench_tensor query;   ///< [b, h, nQ, d]
  attnbench_tensor key;     ///< [b, hKV, nKV, d]
  attnbench_tensor value;   ///< [b, hKV, nKV, dV]
  attnbench_tensor output;  ///< [b, h, nQ, dV], overwritten
  attnbench_tensor lse;  ///< [b, h, nQ, 1], f32, overwritten: natural logarithm of denominators; or
                         ///< zeros
  const attnbench_named_tensor *named;
  /// [b], key rows in use in this run instead of the problem's; or NULL. For plans with
  /// takes_key_lengths; rows after them are not read and need not exist.
  const int64_t *key_lengths;
  /// [b, hKV, d, dV], f32, overwritten with the state after all keys, from which another run goes on that is
  /// given it as the named tensor "state"; or zeros. For plans of recurrences whose state is that.
  attnbench_tensor final_state;
} attnbench_operands;

/// Who computes. Set `size`; zeros are defaults.
typedef struct attnbench_team_options {
  uint32_t size;
  uint32_t best_effort;  ///< 1: go on where a thread cannot be bound
  int64_t threads;       ///< workers, the caller of a run included; 0: one a core that may be used
  /// "core:0-1", "pu:0,2", "numa:0" or "none"; NULL means none. Binding binds the calling thread,
  /// too, until the team and its plans are gone.
  const char *binding;
} attnbench_team_options;

/// Where a decoder keeps the past. Set `size`; zeros are defaults.
typedef struct attnbench_cache_options {
  uint32_t size;
  /// 1: keep the first `sinks` and the newest `window` tokens; 0: keep all, up to key_length.
  uint32_t rolling;
  int64_t sinks;
  int64_t window;
} attnbench_cache_options;

/// What a plan or a decoder is. Set `size`; the rest is filled in.
typedef struct attnbench_info {
  uint32_t size;
  uint32_t operator_class;     ///< attnbench_class
  uint32_t takes_key_lengths;  ///< plans: whether a run may bring key lengths
  uint32_t threads;            ///< workers of the team
  int64_t pairs;               ///< plans: (query, key) pairs scored, over batch and heads
  int64_t flops;               ///< plans: floating-point operations
  int64_t minimum_bytes;       ///< plans: bytes that must be moved at least once
  int64_t workspace_bytes;     ///< bytes held beyond inputs, outputs and cache
  int64_t cache_bytes;         ///< decoders: bytes kept of the past
} attnbench_info;

/// ATTNBENCH_ABI_VERSION of the library.
uint32_t attnbench_abi_version(void);

/// The version, "0.1.0". The text is the library's.
const char *attnbench_version(void);

/// What went wrong in the last call of this thread that failed, UTF-8, one line. The text is the
/// library's and stays until the thread's next failing call.
const char *attnbench_last_error(void);

/// Every strategy as JSON: [{"name", "aliases", "class", "summary", "source", "parameters":
/// [{"label", "help"}], "operands": [{"name", "axes", "meaning", "optional"}]}]. The text is the
/// library's.
const char *attnbench_strategies(void);

/// Starts a team of threads.
///
/// @param options  NULL for the defaults
/// @param team     set to the team; to NULL on an error
int32_t attnbench_team_create(const attnbench_team_options *options, attnbench_team **team);

/// Forgets a team; its threads end when its last plan and decoder are gone. NULL does nothing.
void attnbench_team_destroy(attnbench_team *team);

/// Checks, sizes and allocates.
///
/// @param problem   copied, with its mask and bias
/// @param strategy  "flash", "window(512, sinks: 4)"; or a list with commas between, one a query head
/// @param team      kept as long as the plan
/// @param plan      set to the plan; to NULL on an error
int32_t attnbench_plan_create(const attnbench_problem *problem, const char *strategy,
                              attnbench_team *team, attnbench_plan **plan);

/// Computes attention. The calling thread is worker 0 of the team.
int32_t attnbench_plan_run(attnbench_plan *plan, const attnbench_operands *operands);

/// Work and memory of a plan.
int32_t attnbench_plan_info(attnbench_plan *plan, attnbench_info *info);

/// The strategy with its parameters resolved, "strided(316)".
///
/// @param text      filled in, with a 0 at the end, cut where it is too long
/// @param capacity  bytes of text
int32_t attnbench_plan_spec(attnbench_plan *plan, char *text, size_t capacity);

/// Forgets a plan. NULL does nothing.
void attnbench_plan_destroy(attnbench_plan *plan);

/// Makes ready to take in tokens as they come.
///
/// @param problem  key_length: tokens that sequences may reach; query_length: tokens of a usual step.
///                 Alignment and lengths are the decoder's own and stay 0; masks and biases have one
///                 row
/// @param cache    NULL for one that keeps everything
/// @param decoder  set to the decoder; to NULL on an error
int32_t attnbench_decoder_create(const attnbench_problem *problem, const char *strategy,
                                 const attnbench_cache_options *cache, attnbench_team *team,
                                 attnbench_decoder **decoder);

/// Takes in n new tokens, then computes their outputs: query [b, h, n, d], key [b, hKV, n, d], value
/// [b, hKV, n, dV], output [b, h, n, dV], lse [b, h, n, 1]. Keys and values are f32, f16 or bf16,
/// whatever the cache stores. On an error nothing was taken in.
///
/// @param operands    key_lengths must be NULL, final_state zeros
/// @param new_tokens  [b], how many of the n rows each entry brings, the first ones; or NULL for all
int32_t attnbench_decoder_step(attnbench_decoder *decoder, const attnbench_operands *operands,
                               const int64_t *new_tokens);

/// Tokens taken in.
///
/// @param tokens  [count], filled in
/// @param count   b
int32_t attnbench_decoder_tokens(attnbench_decoder *decoder, int64_t *tokens, size_t count);

/// Forgets the newest tokens of a batch entry until `count` are left.
int32_t attnbench_decoder_truncate(attnbench_decoder *decoder, int64_t entry, int64_t count);

/// Remembers what has been taken in, for attnbench_decoder_rewind, instead of what was remembered before.
int32_t attnbench_decoder_mark(attnbench_decoder *decoder);

/// Goes back to the mark, as often as asked: tokens taken in since, such as a draft that was refused, are
/// forgotten.
int32_t attnbench_decoder_rewind(attnbench_decoder *decoder);

/// Memory of a decoder.
int32_t attnbench_decoder_info(attnbench_decoder *decoder, attnbench_info *info);

/// Forgets a decoder. NULL does nothing.
void attnbench_decoder_destroy(attnbench_decoder *decoder);

#ifdef __cplusplus
}
#endif

#endif
