import AttentionKernels
import Tensors

/// The tensors that an attention problem is computed from.
public struct InputViews: Sendable {
  /// `[b, h, nQ, d]`.
  public var query: TensorView
  /// `[b, hKV, nKV, d]`.
  public var key: TensorView
  /// `[b, hKV, nKV, dV]`.
  public var value: TensorView
  /// What the strategy declares beyond these, by name.
  public var named: [String: TensorView]

  /// The same views without their owners. Named ones keep theirs: a dictionary without them would have
  /// to be allocated, and a plan looks a view up once for many rows.
  package var unowned: InputViews {
    InputViews(query: query.unowned, key: key.unowned, value: value.unowned, named: named)
  }

  /// Bundles the inputs.
  public init(
    query: TensorView, key: TensorView, value: TensorView, named: [String: TensorView] = [:]
  ) {
    self.query = query
    self.key = key
    self.value = value
    self.named = named
  }
}

/// The tensors one run reads and writes.
public struct AttentionOperands: Sendable {
  /// What the run reads.
  public var inputs: InputViews
  /// `[b, h, nQ, dV]`, overwritten.
  public var output: MutableTensorView
  /// `[b, h, nQ, 1]`, overwritten with the natural logarithm of each row's softmax denominator,
  /// or nil.
  public var logSumExp: MutableTensorView?
  /// `stateShape` of the plan, overwritten with the state after all tokens, or nil. Only for plans that
  /// have one.
  public var finalState: MutableTensorView?
  /// Key rows in use in this run, one number a batch entry, instead of the problem's: for a cache
  /// that grows between runs of one plan. Only for plans with `takesKeyLengths`.
  public var keyLengths: [Int]?
  /// What a decoder keeps beside its cache, and the entry of it that the run's first one is.
  package var companion: (any CacheCompanion)?
  package var companionEntry = 0

  /// Bundles the tensors of a run.
  public init(
    query: TensorView, key: TensorView, value: TensorView, named: [String: TensorView] = [:],
    output: MutableTensorView, logSumExp: MutableTensorView? = nil,
    finalState: MutableTensorView? = nil, keyLengths: [Int]? = nil
  ) {
    inputs = InputViews(query: query, key: key, value: value, named: named)
    self.output = output
    self.logSumExp = logSumExp
    self.finalState = finalState
    self.keyLengths = keyLengths
  }

  /// Bundles what a run reads with what it writes.
  public init(
    _ inputs: InputViews, output: MutableTensorView, logSumExp: MutableTensorView? = nil
  ) {
    self.inputs = inputs
    self.output = output
    self.logSumExp = logSumExp
  }

  /// The same views without their owners, as `InputViews.unowned`.
  package var unowned: AttentionOperands {
    var views = self
    views.inputs = inputs.unowned
    views.output = output.unowned
    views.logSumExp = logSumExp?.unowned
    views.finalState = finalState?.unowned
    return views
  }

  /// `[b, h, nQ, d]`.
  public var query: TensorView {
    get { inputs.query }
    set { inputs.query = newValue }
  }
  /// `[b, hKV, nKV, d]`.
  public var key: TensorView {
    get { inputs.key }
    set { inputs.key = newValue }
  }
  /// `[b, hKV, nKV, dV]`.
  public var value: TensorView {
    get { inputs.value }
    set { inputs.value = newValue }
  }
}

/// A strategy made ready for one problem on one worker team.
///
/// Making a plan checks, sizes and allocates; running it allocates nothing, so that what is timed
/// is the attention alone. A plan may be run any number of times, one run at a time.
public protocol AttentionPlan: AnyObject {
  /// The problem the plan serves.
  var problem: AttentionProblem { get }
  /// Bytes of workspace the plan holds beyond inputs and output.
  var workspaceBytes: Int { get }
  /// Whether a run may bring key lengths of its own; false by default.
  var takesKeyLengths: Bool { get }
  /// Whether the rows of a run's tensors may lie in pages; false by default.
  var takesPagedRows: Bool { get }
  /// What a run takes beyond query, key and value; nothing by default.
  var declaredOperands: [OperandDeclaration] { get }
  /// The shape of the state after all tokens, `[b, hKV, m, dV]`; nil, the default, where there is none that
  /// could be gone on from.
  var stateShape: TensorShape? { get }
  /// Computes attention. The operands have been checked against the problem, and `run`, which is what
  /// to call, keeps their memory alive.
  func execute(_ operands: AttentionOperands)
}

extension AttentionPlan {
  public var takesKeyLengths: Bool { false }

  public var takesPagedRows: Bool { false }

  public var declaredOperands: [OperandDeclaration] { [] }

  public var stateShape: TensorShape? { nil }

  /// Checks the operands' shapes and element types and computes attention.
  ///
  /// - Throws: `AttentionError` of kind `shapeMismatch` naming the tensor, or of kind
  ///   `invalidArgument` naming a named operand that is missing or not taken, a tensor in pages or a
  ///   final state that the plan does not take, or key lengths that it does not take or that are out of
  ///   range.
  public func run(_ operands: AttentionOperands) throws(AttentionError) {
    let shape = problem.shape
    let elements = problem.storage
    try expect(operands.query, "query", shape.query, elements.query)
    try expect(operands.key, "key", shape.key, elements.keyValue)
    try expect(operands.value, "value", shape.value, elements.keyValue)
    try declaredOperands.check(operands.inputs.named, on: shape)
    try expect(operands.output.reading, "output", shape.output, elements.output)
    if let lse = operands.logSumExp {
      try expect(lse.reading, "logSumExp", shape.logSumExp, .float32)
    }
    if let state = operands.finalState {
      guard let stateShape else {
        throw AttentionError(
          .invalidArgument, argument: "finalState", value: state.reading.shape,
          advice: "the strategy keeps no state to go on from; leave it out")
      }
      try expect(state.reading, "finalState", stateShape, .float32)
    }
    if let lengths = operands.keyLengths { try check(lengths) }
    withExtendedLifetime(operands) { execute(operands.unowned) }
  }

  private func expect(
    _ view: TensorView, _ name: String, _ expected: TensorShape, _ elementType: ElementType
  ) throws(AttentionError) {
    if view.shape != expected {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.shape,
        advice: "the plan was made for \(expected)")
    }
    if view.elementType != elementType {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.elementType.rawValue,
        advice: "the plan was made for \(elementType.rawValue) elements")
    }
    if case .paged = view.placement, !takesPagedRows {
      throw AttentionError(
        .invalidArgument, argument: name, value: "pages",
        advice: "this strategy reads rows in place; copy them together, or use flash")
    }
  }

  private func check(_ lengths: [Int]) throws(AttentionError) {
    let shape = problem.shape
    guard takesKeyLengths, lengths.count == shape.batch,
      lengths.allSatisfy({ (0...shape.keyLength).contains($0) })
    else {
      throw AttentionError(
        .invalidArgument, argument: "keyLengths", value: lengths,
        advice: takesKeyLengths
          ? "one length in 0...\(shape.keyLength) per batch entry is needed, batch is \(shape.batch)"
          : "this plan's lengths are fixed; give them to the problem")
    }
  }
}
