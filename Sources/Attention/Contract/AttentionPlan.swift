/// The tensors one run reads and writes.
public struct AttentionOperands: Sendable {
  /// `[b, h, nQ, d]`.
  public var query: TensorView
  /// `[b, hKV, nKV, d]`.
  public var key: TensorView
  /// `[b, hKV, nKV, dV]`.
  public var value: TensorView
  /// `[b, h, nQ, dV]`, overwritten.
  public var output: MutableTensorView
  /// `[b, h, nQ, 1]`, overwritten with the natural logarithm of each row's softmax denominator,
  /// or nil.
  public var logSumExp: MutableTensorView?

  /// Bundles the tensors of a run.
  public init(
    query: TensorView, key: TensorView, value: TensorView, output: MutableTensorView,
    logSumExp: MutableTensorView? = nil
  ) {
    self.query = query
    self.key = key
    self.value = value
    self.output = output
    self.logSumExp = logSumExp
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
  /// Computes attention. The operands have been checked against the problem; call `run`.
  func execute(_ operands: AttentionOperands)
}

extension AttentionPlan {
  /// Checks the operands' shapes and computes attention.
  ///
  /// - Throws: `AttentionError` of kind `shapeMismatch` naming the tensor.
  public func run(_ operands: AttentionOperands) throws(AttentionError) {
    let shape = problem.shape
    try expect(operands.query, "query", shape.query)
    try expect(operands.key, "key", shape.key)
    try expect(operands.value, "value", shape.value)
    try expect(operands.output.reading, "output", shape.output)
    if let lse = operands.logSumExp {
      try expect(lse.reading, "logSumExp", shape.logSumExp)
    }
    execute(operands)
  }

  private func expect(
    _ view: TensorView, _ name: String, _ expected: TensorShape
  ) throws(AttentionError) {
    if view.shape != expected {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.shape,
        advice: "the plan was made for \(expected)")
    }
  }
}
