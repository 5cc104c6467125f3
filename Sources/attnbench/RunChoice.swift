import Attention
import AttentionBench

/// What `attnbench run` runs: one strategy, or a plan with one for each head.
enum RunChoice {
  case strategy(any AttentionStrategy)
  case plan(HeadPlan, path: String)

  /// What it takes beyond query, key and value.
  ///
  /// - Throws: `HeadPlanError`.
  func operands() throws -> [OperandDeclaration] {
    switch self {
    case .strategy(let strategy): strategy.operands
    case .plan(let plan, let path): try plan.mix(path: path).operands
    }
  }

  /// What to know of the result beside it: how the tensors were stored, once that has been settled.
  func caution(on elements: Storage) -> String? {
    switch self {
    case .strategy: nil
    case .plan(let plan, let path): plan.caution(on: elements, path: path)
    }
  }

  /// The strategy and the settings for tensors. A plan brings its own scale and mask; options may
  /// repeat them, not change them.
  ///
  /// - Parameter given: options that a plan has no room for, as typed.
  /// - Throws: `UsageError` naming the option that contradicts, `HeadPlanError` for tensors that do
  ///   not fit.
  func resolved(
    for file: FileProblem, _ settings: ProblemSettings, given: [String]
  ) throws -> (any AttentionStrategy, ProblemSettings) {
    switch self {
    case .strategy(let strategy): return (strategy, settings)
    case .plan(let plan, let path):
      try plan.check(fits: file.shape, path: path)
      func contradiction(_ option: String, _ planned: String) -> UsageError {
        UsageError("\(option): \(path) was made for \(planned); leave the option out")
      }
      if let option = given.first {
        throw contradiction(option, "attention without it")
      }
      if file.isPacked { throw contradiction("--cu-seqlens", "sequences of one length") }
      if settings.visibility.causal, !plan.problem.causal {
        throw contradiction("--causal", "attention without a causal mask")
      }
      if let scale = settings.scoring.scale, scale != plan.problem.scale {
        throw contradiction("--scale \(scale)", "the scale \(plan.problem.scale)")
      }
      let planned = try plan.problem(on: file.shape)
      var own = ProblemSettings()
      (own.scoring, own.visibility) = (planned.scoring, planned.visibility)
      if settings.visibility.offset != .bottomRight {
        let asked = try settings.problem(on: file.shape)
        for batch in 0..<file.shape.batch {
          let offset = asked.geometry(batch: batch).offset
          guard offset != plan.problem.queryOffset else { continue }
          throw contradiction(
            settings.visibility.offset == .topLeft
              ? "--align top-left" : "a query offset of \(offset)",
            "the query offset \(plan.problem.queryOffset)")
        }
      }
      return (try plan.mix(path: path), own)
    }
  }
}
