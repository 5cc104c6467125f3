/// What the harness asks of a peer: one JSON object a line on its standard input, each answered by
/// one line on its standard output before the next is sent.
///
/// Keys are snake_case. An answer with the key `error` refuses the request; the peer lives on.
public struct PeerRequest: Codable, Equatable, Sendable {
  /// The requests there are, by the word in `command`.
  public enum Command: String, Codable, Sendable, CaseIterable {
    /// First of all, before the library is loaded: which CPUs it may use. Answered by `PeerHello`.
    case hello
    /// Whether there is a function for a case. Answered by `PeerOffer`.
    case serves
    /// Makes everything that is not timed, on operands in `.npy` files of fp32: query, key and value,
    /// `[b, h, n, d]`, those that the strategy declares beyond them, of the declared shapes, and what
    /// `PeerCase.selection` speaks of. Answered by `PeerPrepared`.
    case prepare
    /// Calls the function `warm` times without timing it, then `repeats` times. Answered by
    /// `PeerTimes`.
    case run
    /// Writes the output of the last call to a `.npy` file, in fp32, as `[h, n, d]` or `[b, h, n, d]`.
    /// Answered by `PeerDone`.
    case output
    /// Gives back what `prepare` took. Answered by `PeerDone`.
    case release
    /// The end: the process exits and answers nothing.
    case quit
  }

  /// What is asked for. The others are nil where the command does not take them.
  public let command: Command
  /// `hello`: the version of this protocol.
  public var version: Int?
  /// `hello`: the CPUs of each thread, by the system's numbers.
  public var places: [[Int]]?
  /// `serves` and `prepare`: the work.
  public var `case`: PeerCase?
  /// `prepare`: the file of each operand, by its name.
  public var operands: [String: String]?
  /// `run`: calls that are not timed.
  public var warm: Int?
  /// `run`: calls that are.
  public var repeats: Int?
  /// `output`: the file.
  public var path: String?

  /// The version of the protocol that is spoken here.
  public static let currentVersion = 1

  /// A request without arguments yet.
  public init(_ command: Command) { self.command = command }

  /// Places of as many threads as the peer may use.
  public static func hello(places: [[Int]]) -> PeerRequest {
    var request = PeerRequest(.hello)
    request.version = currentVersion
    request.places = places
    return request
  }

  /// Is there a function for a case?
  public static func serves(_ work: PeerCase) -> PeerRequest {
    var request = PeerRequest(.serves)
    request.case = work
    return request
  }

  /// Make ready, on these files.
  public static func prepare(_ work: PeerCase, operands: [String: String]) -> PeerRequest {
    var request = PeerRequest(.prepare)
    request.case = work
    request.operands = operands
    return request
  }

  /// Take a turn.
  public static func run(warm: Int, repeats: Int) -> PeerRequest {
    var request = PeerRequest(.run)
    request.warm = warm
    request.repeats = repeats
    return request
  }

  /// Write the output.
  public static func output(to path: String) -> PeerRequest {
    var request = PeerRequest(.output)
    request.path = path
    return request
  }

  /// An argument that the command needs.
  ///
  /// - Throws: `PeerRequestError` when it is missing.
  public func needed<Value>(
    _ argument: KeyPath<PeerRequest, Value?>, _ name: String
  ) throws(PeerRequestError) -> Value {
    guard let value = self[keyPath: argument] else {
      throw PeerRequestError(description: "\(command.rawValue): \(name) is missing")
    }
    return value
  }
}

/// The work that every implementation is given.
public struct PeerCase: Codable, Hashable, Sendable {
  /// What the keys that a query attends to follow from.
  public enum Selection: String, Codable, Sendable {
    /// The own block of `block` keys, and of those before it the ones whose mean key has the largest
    /// products with the mean of the `rows` consecutive queries that choose together: `top` blocks in
    /// all.
    case blocks
    /// An operand `blocks`, `[1, nQ / block, nKV / block]`, rounded up, with a 1 for each block of keys
    /// that a block of queries attends to.
    case given
    /// The scores of an index, `index_q`, `index_k` and `index_w`: the `top` best keys of each query,
    /// for all heads.
    case index
  }

  /// What attnbench calls it: `window(512)`.
  public var strategy: String
  /// The number of keys that a causal query sees, its own included; nil for all.
  public var window: Int?
  /// Linear attention with elu(x) + 1 and its normaliser instead of softmax.
  public var linear = false
  /// A recurrence over the tokens instead of softmax: `gated`, `delta` or `gated_delta` as ONNX's
  /// `LinearAttention` names and defines them, or `ssd`, that of Mamba-2 with queries as C, keys as B and
  /// outputs times 1/sqrt(d); nil for none. It takes operands by name (`decay` of a rank that says for
  /// what it counts, `beta`, `state`, `dt`, `a`), and the state after the last token is part of the work.
  public var rule: String?
  /// Softmax of scores `additive_v . tanh(additive_q q + additive_k k)`, without a scale, instead of
  /// products.
  public var additive = false
  /// Which of the keys that causality leaves a query attends to; nil for all, or those of a window.
  public var selection: Selection?
  /// Keys of a block, where blocks are selected.
  public var block: Int?
  /// How many blocks or keys are kept.
  public var top: Int?
  /// Consecutive queries that choose together.
  public var rows: Int?
  /// Batch entries.
  public var batch = 1
  /// Query heads.
  public var heads: Int
  /// Key and value heads.
  public var kvHeads: Int
  /// Query rows.
  public var nQ: Int
  /// Key rows.
  public var nKv: Int
  /// The dimension of queries and keys.
  public var headDim: Int
  /// The dimension of values.
  public var valueDim: Int
  /// Whether the last query sees all keys and each before it one key less.
  public var causal: Bool
  /// How operands and output are stored, as in `results.csv`. The files hold fp32 numbers that this
  /// type has.
  public var dtype: String
  /// Threads that may work.
  public var threads: Int

  /// A case of softmax attention over all keys, or those that causality leaves.
  public init(
    strategy: String, heads: Int, kvHeads: Int, nQ: Int, nKv: Int, headDim: Int, valueDim: Int,
    causal: Bool, dtype: String, threads: Int
  ) {
    self.strategy = strategy
    self.heads = heads
    self.kvHeads = kvHeads
    self.nQ = nQ
    self.nKv = nKv
    self.headDim = headDim
    self.valueDim = valueDim
    self.causal = causal
    self.dtype = dtype
    self.threads = threads
  }
}

/// A request that lacks something or comes out of order.
public struct PeerRequestError: Error, Equatable, CustomStringConvertible {
  /// What, and what to do about it.
  public let description: String

  /// Says what is wrong.
  public init(description: String) { self.description = description }
}
