import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// What the recurrence of a ``RecurrentStrategy`` has.
///
/// With S `[m, dV]`, m being d or a number of features, and for each token of a key/value head
///
///     S = decay S + key u^T,  u = value - (decay S)^T erase
///
/// where decay multiplies the rows of S; a query that sees a token reads q^T S after it. A rule makes key,
/// value, erase and decay of the tokens' rows; the engine does the rest: by chunks at the speed of matrix
/// products, in steps, and by the definition in fp64.
public struct RecurrenceShape: Sendable, Hashable {
  /// How much of its state a rule keeps.
  public enum Decay: Sendable, Hashable {
    /// All of it.
    case none
    /// A factor for all rows of the state.
    case perHead
    /// A factor a row.
    case perChannel
  }

  /// What multiplies the state before a token is taken in.
  public var decay: Decay
  /// Whether tokens erase.
  public var erases: Bool
  /// Whether a token's output has an addition of its own, which the state does not keep.
  public var adds: Bool
  /// Whether outputs are divided by q^T z + 1e-6, z being the sum of the keys; the scale plays no part
  /// then, and LSE is the natural logarithm of q^T z.
  public var normalises: Bool
  /// m, where it is not d.
  public var features: Int?

  public init(
    decay: Decay = .none, erases: Bool = false, adds: Bool = false, normalises: Bool = false,
    features: Int? = nil
  ) {
    self.decay = decay
    self.erases = erases
    self.adds = adds
    self.normalises = normalises
    self.features = features
  }

  /// Keeps a denominator from zero.
  public static let epsilon = 1e-6
}

extension AttentionProblem {
  /// The factor on a recurrence's outputs: the scale, where 0 stands for the usual one as in ONNX's
  /// `LinearAttention`.
  package var outputScale: Float {
    scale == 0 ? 1 / Float(shape.headDim).squareRoot() : scale
  }
}

/// A token of a key/value head, in fp32, for a rule to work on.
public struct RecurrentToken {
  /// Number of the key/value head.
  public let head: Int
  /// `[m]`. In: its first d numbers are the key's. Out: what is written along; a key's features.
  public let key: UnsafeMutablePointer<Float>
  /// `[dV]`. In: the value. Out: what is written.
  public let value: UnsafeMutablePointer<Float>
  /// `[dV]`, out, where the rule adds: what only the token's own output has besides.
  public let addition: UnsafeMutablePointer<Float>
  /// `[m]`, out, where the rule erases.
  public let erase: UnsafeMutablePointer<Float>
  /// One number, or `[m]`, out, where the rule decays: the natural logarithm, at most 0.
  public let decay: UnsafeMutablePointer<Float>
  /// d and dV.
  public let headDim: Int
  public let valueDim: Int
  /// The vector functions in force.
  public let kernels: KernelTable
  @usableFromInline let gates: UnsafePointer<UnsafePointer<Float>?>
  @usableFromInline let gateStrides: UnsafePointer<Int>
  /// Place among the tokens that the gates belong to.
  @usableFromInline let place: Int

  @inlinable init(_ tokens: RecurrentTokens, _ place: Int) {
    head = tokens.head
    key = tokens.keys + place * tokens.keyStride
    value = tokens.values + place * tokens.valueStride
    addition = tokens.additions + place * tokens.additionStride
    erase = tokens.erases + place * tokens.eraseStride
    decay = tokens.decays + place * tokens.decayStride
    (headDim, valueDim) = (tokens.headDim, tokens.valueDim)
    (gates, gateStrides) = (tokens.gates, tokens.gateStrides)
    self.place = place
    kernels = tokens.kernels
  }

  /// The token's row of the strategy's declared operand of that number; nil for one that is optional and
  /// was left out. Of an operand without an axis of keys the only row.
  @inlinable public func gate(_ index: Int) -> UnsafePointer<Float>? {
    gates[index].map { $0 + place * gateStrides[index] }
  }
}

/// Tokens of a key/value head that follow each other: row t of everything is token t's, as
/// `RecurrentToken` has it.
public struct RecurrentTokens {
  /// Number of the key/value head.
  public let head: Int
  /// How many there are.
  public let count: Int
  /// The first token's rows. Those of what the rule does not have are memory that nobody reads.
  public let keys: UnsafeMutablePointer<Float>
  public let values: UnsafeMutablePointer<Float>
  public let additions: UnsafeMutablePointer<Float>
  public let erases: UnsafeMutablePointer<Float>
  public let decays: UnsafeMutablePointer<Float>
  /// Floats from one token's row to the next's; 0 for what the rule does not have.
  public let keyStride: Int
  public let valueStride: Int
  public let additionStride: Int
  public let eraseStride: Int
  public let decayStride: Int
  /// d and dV.
  public let headDim: Int
  public let valueDim: Int
  @usableFromInline let gates: UnsafePointer<UnsafePointer<Float>?>
  @usableFromInline let gateStrides: UnsafePointer<Int>
  /// The vector functions in force.
  public let kernels: KernelTable

  package init(
    head: Int, count: Int, keys: UnsafeMutablePointer<Float>, values: UnsafeMutablePointer<Float>,
    additions: UnsafeMutablePointer<Float>, erases: UnsafeMutablePointer<Float>,
    decays: UnsafeMutablePointer<Float>, keyStride: Int, valueStride: Int, additionStride: Int,
    eraseStride: Int, decayStride: Int, headDim: Int, valueDim: Int,
    gates: UnsafePointer<UnsafePointer<Float>?>, gateStrides: UnsafePointer<Int>,
    kernels: KernelTable
  ) {
    self.head = head
    self.count = count
    self.keys = keys
    self.values = values
    self.additions = additions
    self.erases = erases
    self.decays = decays
    self.keyStride = keyStride
    self.valueStride = valueStride
    self.additionStride = additionStride
    self.eraseStride = eraseStride
    self.decayStride = decayStride
    self.headDim = headDim
    self.valueDim = valueDim
    self.gates = gates
    self.gateStrides = gateStrides
    self.kernels = kernels
  }

  /// A token.
  @inlinable public subscript(_ place: Int) -> RecurrentToken { RecurrentToken(self, place) }

  /// The first token's row of a declared operand, as `RecurrentToken.gate`, and the floats from one token's
  /// row to the next's.
  @inlinable public func gate(_ index: Int) -> (rows: UnsafePointer<Float>, stride: Int)? {
    gates[index].map { ($0, gateStrides[index]) }
  }
}

/// A token of a key/value head, in fp64: what the definition makes of it.
public struct RecurrentDefinition {
  /// Number of the key/value head.
  public let head: Int
  /// `[m]`. In: the key's features. Out: what is written along.
  public var key: [Double]
  /// `[dV]`. In: the value. Out: what is written.
  public var value: [Double]
  /// `[dV]`, where the rule adds.
  public var addition: [Double]
  /// `[m]`, where the rule erases.
  public var erase: [Double]
  /// One number or `[m]`, where the rule decays.
  public var decay: [Double]
  /// The token's rows of the declared operands, as `RecurrentToken.gate`.
  public var gates: [[Double]?]
}

/// A strategy that is a recurrence over the tokens: the engine serves it.
///
/// What it declares in `operands` reaches its rule row by row; an operand named `state` is the state to
/// begin with, `[b, hKV, m, dV]`.
public protocol RecurrentStrategy: FamilyStrategy {
  /// The strategy with what its rule needs for a problem worked out: called once a plan, by default
  /// the strategy itself.
  func prepared(for problem: AttentionProblem) -> Self

  /// What the recurrence has.
  func recurrence(for shape: AttentionShape) -> RecurrenceShape

  /// Turns a key or a query, `[d]`, into features, `[m]`, in place; by default leaves it as it is.
  func mapFeatures(_ row: UnsafeMutablePointer<Float>, headDim: Int, kernels: KernelTable)

  /// The same for `count` rows, `stride` floats apart; what lies behind the d numbers of a row is 0. By
  /// default one by one.
  func mapFeatures(
    _ rows: UnsafeMutablePointer<Float>, count: Int, stride: Int, headDim: Int,
    kernels: KernelTable)

  /// Makes key, value, erase and decay of a token whose key's features have been taken. Called by any
  /// worker; must not allocate.
  func take(_ token: RecurrentToken)

  /// The same for tokens that follow each other, of which the engine asks. By default one by one.
  func take(_ tokens: RecurrentTokens)

  /// `mapFeatures`, by the definition: `[d]` to `[m]`.
  func defineFeatures(_ row: inout [Double])

  /// `take`, by the definition.
  func define(_ token: inout RecurrentDefinition)
}

extension RecurrentStrategy {
  public func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  public func mapFeatures(
    _ row: UnsafeMutablePointer<Float>, headDim: Int, kernels: KernelTable
  ) {}

  @inlinable
  public func mapFeatures(
    _ rows: UnsafeMutablePointer<Float>, count: Int, stride: Int, headDim: Int,
    kernels: KernelTable
  ) {
    for row in 0..<count { mapFeatures(rows + row * stride, headDim: headDim, kernels: kernels) }
  }

  public func take(_ token: RecurrentToken) {}

  @inlinable
  public func take(_ tokens: RecurrentTokens) {
    for place in 0..<tokens.count { take(tokens[place]) }
  }

  public func prepared(for problem: AttentionProblem) -> Self { self }

  public func defineFeatures(_ row: inout [Double]) {}

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try refuseSoftmaxOptions(of: problem)
    return RecurrentLayout(
      problem, recurrence(for: problem.shape), operands: operands, threads: threads,
      kernels: .active
    ).work
  }

  public var keepsState: Bool { true }

  public func stepWork(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try refuseSoftmaxOptions(of: problem)
    try problem.checkForDecoding()
    let step = try problem.with { shape, _, _, _ in shape.keyLength = shape.queryLength }
    return RecurrentLayout(
      step, recurrence(for: step.shape), operands: operands, threads: threads, kernels: .active
    ).stepWork
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try refuseSoftmaxOptions(of: problem)
    return try RecurrentPlan(self, problem, team: team, kernels: .active)
  }

  /// Keeps a state instead of a cache: memory that does not grow.
  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    try refuseSoftmaxOptions(of: problem)
    return try RecurrentDecoder(self, problem, on: team, kernels: .active)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    RecurrentOracle(self, problem)
  }

  /// What acts on the logits of a softmax has nothing to act on here.
  private func refuseSoftmaxOptions(of problem: AttentionProblem) throws(AttentionError) {
    try problem.refuse(
      [.mask, .bias, .alibi, .softcap, .sinkLogits],
      advice: "\(name) has no logits for it to act on; leave it out or use a softmax strategy such "
        + "as flash")
    try problem.refuse([.prefix, .window], advice: "is not served by \(name)")
  }
}

/// Operands that recurrent strategies have in common.
extension OperandDeclaration {
  /// The natural logarithm of what is kept of the state, one a token and head or one a channel of the
  /// key.
  public static func decay(perChannel: Bool) -> OperandDeclaration {
    OperandDeclaration(
      "decay", axes: [.batch, .kvHeads, .keyLength] + (perChannel ? [.headDim] : []),
      meaning: "natural logarithm of what is kept of the state", domain: -Float.infinity...0
    ) { uniform in
      // Some steps forget everything.
      uniform < 0.02 && !perChannel ? -1e4 : Float(-0.2 * uniform)
    }
  }

  /// How much of what is kept at a token's key is replaced by its value.
  ///
  /// - Parameter hasUnitKeys: whether keys have length 1. Others have |k|^2 of d and, in models, several
  ///   times that; random values are less than 2 / |k|^2, above which a state grows without bound.
  public static func beta(hasUnitKeys: Bool) -> OperandDeclaration {
    OperandDeclaration(
      "beta", axes: [.batch, .kvHeads, .keyLength],
      meaning: "how much of what is kept at the key is replaced by the value", domain: 0...2,
      drawnFor: { uniform, shape in
        Float(hasUnitKeys ? uniform : uniform / Double(4 * shape.headDim))
      })
  }

  /// A state to begin with.
  public static let state = OperandDeclaration(
    RecurrentLayout.stateName, axes: [.batch, .kvHeads, .headDim, .valueDim],
    meaning: "the state to begin with",
    domain: -Float.greatestFiniteMagnitude...Float.greatestFiniteMagnitude, isOptional: true
  ) { uniform in Float(2 * uniform - 1) }
}
