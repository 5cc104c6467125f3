import Attention
import Measuring
import Records
import Statistics
import Units

extension HeadPlan {
  /// Reads and checks a plan file.
  ///
  /// - Throws: `RecordError` when the file cannot be read, `ChoiceFileError` when it is no plan.
  public init(path: String) throws {
    self = try ChoiceFile.read(HeadPlan.self, path, fix: Self.remake)
    try check(path)
  }

  /// Writes the plan, replacing the file as a whole.
  ///
  /// - Throws: `RecordError` when the file cannot be written.
  public func write(to path: String) throws(RecordError) {
    try ChoiceFile.write(self, to: path)
  }

  /// The mix that the plan asks for.
  ///
  /// - Parameter path: names the file in errors.
  /// - Throws: `ChoiceFileError` naming the head whose strategy is not known.
  public func mix(
    of registry: StrategyRegistry = .standard, path: String
  ) throws(ChoiceFileError) -> MixedAttention {
    try ChoiceFile.mix(
      of: heads.map(\.strategy), registry, path, field: { "heads[\($0)].strategy" },
      fix: Self.remake)
  }

  /// Checks that tensors are of the sizes the plan was made for; their batch may differ.
  ///
  /// - Throws: `ChoiceFileError` naming the first size that does not fit.
  public func check(fits shape: AttentionShape, path: String) throws(ChoiceFileError) {
    try problem.check(fits: shape, path: path, field: "problem", fix: Self.remake)
  }

  /// The problem of the plan on tensors of a shape.
  ///
  /// - Throws: `AttentionError` when scale or offset are out of range.
  public func problem(on shape: AttentionShape) throws(AttentionError) -> AttentionProblem {
    try problem.attention(on: shape)
  }

  private static let remake =
    "make a plan for these tensors: attnbench recommend --per-head --inputs FILE --save PLAN"

  private func check(_ path: String) throws(ChoiceFileError) {
    try ChoiceFile.check(
      format: format, version: version, are: (Self.format, Self.currentVersion), path,
      fix: Self.remake)
    try problem.check(entries: heads.count, path: path, field: "", fix: Self.remake)
    for (index, head) in heads.enumerated() where head.head != index {
      throw ChoiceFileError(
        path, field: "heads[\(index)].head", value: "\(head.head)",
        rule: "entries stand in the order of the heads", fix: "\(index) belongs here")
    }
  }
}

extension HeadPlan.Problem {
  /// What to say where tensors are stored otherwise than those that a plan was measured on; nil
  /// where they are not, and where the plan does not say.
  ///
  /// The results are right all the same. The errors and times of the plan are not theirs.
  ///
  /// - Parameter remake: the command that makes another plan.
  public func caution(on elements: Storage, path: String, remake: String) -> String? {
    guard let planned = elementType, elements != Storage(planned) else { return nil }
    return "\(path) was measured on \(Storage(planned).label) tensors and ran on "
      + "\(elements.label): its errors and times are not those of this run; "
      + "attnbench \(remake) --dtype \(elements.query.rawValue) makes a plan for them"
  }

  /// Checks that tensors have these sizes; their batch may differ.
  ///
  /// - Parameters:
  ///   - field: where the sizes stand in the file.
  ///   - atAnyLength: whether the lengths may differ too.
  func check(
    fits shape: AttentionShape, atAnyLength: Bool = false, path: String, field: String, fix: String
  ) throws(ChoiceFileError) {
    var sizes = [
      ("heads", heads, shape.heads), ("kv_heads", kvHeads, shape.kvHeads),
      ("head_dim", headDim, shape.headDim), ("value_dim", valueDim, shape.valueDim),
    ]
    if !atAnyLength {
      sizes += [("n_q", queryLength, shape.queryLength), ("n_kv", keyLength, shape.keyLength)]
    }
    for (name, planned, found) in sizes where planned != found {
      throw ChoiceFileError(
        path, field: "\(field).\(name)", value: "\(planned)", rule: "the tensors have \(found)",
        fix: fix)
    }
  }

  /// Refuses a scale that is no number and heads that are not as many as entries.
  func check(entries: Int, path: String, field: String, fix: String) throws(ChoiceFileError) {
    guard scale.isFinite else {
      throw ChoiceFileError(
        path, field: "\(field)problem.scale", value: "\(scale)", rule: "must be a finite number",
        fix: fix)
    }
    guard entries == heads, entries > 0 else {
      throw ChoiceFileError(
        path, field: "\(field)heads", value: "with \(entries) entries",
        rule: "one is needed for each of the \(heads) query heads", fix: "add or remove entries")
    }
  }
}
