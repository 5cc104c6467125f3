import AttentionKernels
import MachineTopology
import Tensors

/// A strategy made ready to take in tokens as they come: each step adds the new tokens' keys and
/// values to what it keeps of the past, and attends from the new queries to all of it.
///
/// What is kept, a cache or a state, is the decoder's matter: a caller need not ask which strategy
/// it is. A decoder is used by one thread at a time; the work is the team's.
public protocol AttentionDecoder: AnyObject {
  /// What is computed. `shape.keyLength` is the length that sequences may reach, for a cache that
  /// keeps everything; `shape.queryLength` the tokens of a usual step.
  var problem: AttentionProblem { get }
  /// Tokens taken in, one number a batch entry: the position of the next.
  var tokens: [Int] { get }
  /// What a step takes beyond query, key and value; nothing by default. Axes of lengths have the
  /// step's new rows.
  var declaredOperands: [OperandDeclaration] { get }
  /// Bytes kept of the past.
  var cacheBytes: Int { get }
  /// Bytes of workspace besides.
  var workspaceBytes: Int { get }

  /// Makes ready for steps of `count` tokens, so that the first of them allocates nothing either.
  /// The decoder is ready for `problem.shape.queryLength` when it is made.
  ///
  /// - Throws: `AttentionError` when memory is refused or the strategy cannot serve as many.
  func prepare(newTokens count: Int) throws(AttentionError)

  /// Takes in n new tokens and computes their outputs. The first query row of an entry stands at
  /// position `tokens[entry]`.
  ///
  /// Query `[b, h, n, d]`, key `[b, hKV, n, d]`, value `[b, hKV, n, dV]`, output `[b, h, n, dV]`,
  /// LSE `[b, h, n, 1]`; queries and outputs as `problem.storage` says, keys and values of
  /// any floating-point type.
  ///
  /// - Parameter newTokens: how many of the n rows each entry brings, the first ones; rows after
  ///   them are neither read nor written. Nil for all.
  /// - Throws: `AttentionError` as `KeyValueCache.append` does, and of kind `shapeMismatch` naming a
  ///   tensor. No token has been taken in then.
  func step(_ operands: AttentionOperands, newTokens: [Int]?) throws(AttentionError)

  /// Takes in new tokens whose outputs nobody needs: as `step`, after which `output` and LSE may hold
  /// anything. Over a cache nothing is attended to; by default a step.
  ///
  /// - Throws: as `step`.
  func takeIn(_ operands: AttentionOperands, newTokens: [Int]?) throws(AttentionError)

  /// Forgets the newest tokens of an entry until `count` are left.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument` when the entry does not have as many
  ///   tokens, or what is kept cannot go back; 0 always is possible.
  func truncate(entry: Int, to count: Int) throws(AttentionError)

  /// Remembers what has been taken in so far, for `rewind()`, instead of what was remembered before.
  ///
  /// - Complexity: O(1) over a cache; a state is copied.
  /// - Throws: `AttentionError` when memory for the copy is refused.
  func mark() throws(AttentionError)

  /// Goes back to where `mark()` was called, as often as asked: tokens taken in since are forgotten, as
  /// those of a draft that was refused.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument` when nothing was marked, or what is kept cannot
  ///   go back: a rolling cache may have dropped what it needs.
  func rewind() throws(AttentionError)
}

extension AttentionError {
  /// Going back without a mark.
  package static let noMark = AttentionError(
    .invalidArgument, argument: "rewind", value: "nothing marked", advice: "call mark() before")
}

extension AttentionDecoder {
  public var declaredOperands: [OperandDeclaration] { [] }

  public func takeIn(
    _ operands: AttentionOperands, newTokens: [Int]?
  ) throws(AttentionError) {
    try step(operands, newTokens: newTokens)
  }

  /// Takes in new tokens; see `step(_:newTokens:)`.
  public func step(
    query: TensorView, key: TensorView, value: TensorView, output: MutableTensorView,
    logSumExp: MutableTensorView? = nil, newTokens: [Int]? = nil
  ) throws(AttentionError) {
    try step(
      AttentionOperands(
        query: query, key: key, value: value, output: output, logSumExp: logSumExp),
      newTokens: newTokens)
  }

  /// Refuses tensors that do not fit; returns the rows they have.
  package func check(_ operands: AttentionOperands, newTokens: [Int]?) throws(AttentionError) -> Int
  {
    let shape = problem.shape
    let rows = operands.query.shape.rows
    let new = CacheShape(shape)
    let elements = problem.storage.query
    let query = TensorShape(unchecked: shape.batch, shape.heads, rows, shape.headDim)
    let output = TensorShape(unchecked: shape.batch, shape.heads, rows, shape.valueDim)
    let logSumExp = TensorShape(unchecked: shape.batch, shape.heads, rows, 1)
    try expect(operands.query, "query", query, elements)
    try expect(operands.key, "key", new.key(rows: rows), nil)
    try expect(operands.value, "value", new.value(rows: rows), nil)
    var step = shape
    (step.queryLength, step.keyLength) = (rows, rows)
    try declaredOperands.check(operands.inputs.named, on: step)
    try expect(operands.output.reading, "output", output, problem.storage.output)
    if let lse = operands.logSumExp { try expect(lse.reading, "logSumExp", logSumExp, .float32) }
    if let newTokens,
      newTokens.count != shape.batch || !newTokens.allSatisfy({ (0...rows).contains($0) })
    {
      throw AttentionError(
        .invalidArgument, argument: "newTokens", value: newTokens,
        advice: "one number in 0...\(rows) is needed for each of the \(shape.batch) batch entries")
    }
    return rows
  }

  private func expect(
    _ view: TensorView, _ name: String, _ expected: TensorShape, _ elementType: ElementType?
  ) throws(AttentionError) {
    if view.shape != expected {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.shape,
        advice: "a step of \(expected.rows) tokens takes \(expected)")
    }
    if view.isPaged {
      throw AttentionError(
        .shapeMismatch, argument: name, value: "paged",
        advice: "new rows lie at a row stride; only the cache has pages")
    }
    let fits = elementType.map { $0 == view.elementType } ?? view.elementType.isFloatingPoint
    if !fits {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.elementType.rawValue,
        advice: elementType.map { "the decoder was made for \($0.rawValue) elements" }
          ?? "new rows are f32, f16 or bf16; the cache converts them")
    }
  }
}

/// Where a decoder keeps keys and values. Strategies that keep something else, as `linear` does,
/// take no notice.
public enum CacheChoice {
  /// A `ContiguousCache` with room for `capacity` tokens, by default for the problem's key length.
  case contiguous(capacity: Int? = nil)
  /// A `PagedCache` for at most the problem's key length, with pages of a pool.
  case paged(PagePool)
  /// A `RollingCache`: the first `sinks` tokens and the newest `window`.
  case rolling(sinks: Int, window: Int)
  /// A cache the caller has made, with tokens in it or not.
  case existing(any KeyValueCache)

  /// The cache, for keys and values stored as the problem says.
  package func cache(for problem: AttentionProblem) throws(AttentionError) -> any KeyValueCache {
    let shape = CacheShape(problem.shape)
    let elementType = problem.storage.keyValue
    switch self {
    case .contiguous(let capacity):
      return try ContiguousCache(
        shape, capacity: capacity ?? problem.shape.keyLength, elementType: elementType)
    case .paged(let pool):
      return try PagedCache(shape, maximumLength: problem.shape.keyLength, pool: pool)
    case .rolling(let sinks, let window):
      return try RollingCache(shape, sinks: sinks, window: window, elementType: elementType)
    case .existing(let cache):
      return cache
    }
  }
}
