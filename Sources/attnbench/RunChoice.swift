import Attention
import AttentionBench

/// What `attnbench run` runs: one strategy, or a plan with one for each head.
enum RunChoice {
  case strategy(any AttentionStrategy)
  case plan(HeadPlan, path: String)

  /// The strategy and the problem on tensors of a shape. A plan brings its own scale and mask;
  /// options may repeat them, not change them.
  ///
  /// - Throws: `UsageError` naming the option that contradicts, `HeadPlanError` for tensors that do
  ///   not fit.
  func resolved(
    for shape: AttentionShape, _ mask: MaskOptions, _ logits: LogitOptions
  ) throws -> (any AttentionStrategy, AttentionProblem) {
    switch self {
    case .strategy(let strategy):
      let problem = try mask.problem(
        shape, keyLengths: logits.lengths(), softcap: logits.softcap, sinkLogits: logits.logits())
      return (strategy, problem)
    case .plan(let plan, let path):
      try plan.check(fits: shape, path: path)
      let mix = try plan.mix(path: path)
      func contradiction(_ option: String, _ planned: String) -> UsageError {
        UsageError("\(option): \(path) was made for \(planned); leave the option out")
      }
      if mask.causal, !plan.problem.causal {
        throw contradiction("--causal", "attention without a causal mask")
      }
      if let scale = mask.scale, scale != plan.problem.scale {
        throw contradiction("--scale \(scale)", "the scale \(plan.problem.scale)")
      }
      if logits.softcap != nil { throw contradiction("--softcap", "scores without a softcap") }
      if try logits.logits() != nil {
        throw contradiction("--sink-logits", "a softmax without sink logits")
      }
      if try logits.lengths() != nil { throw contradiction("--kv-lengths", "keys without padding") }
      if mask.align != nil || mask.queryOffset != nil {
        let asked = try mask.problem(shape).geometry(batch: 0).offset
        if asked != plan.problem.queryOffset {
          throw contradiction(
            mask.align.map { "--align \($0.rawValue)" } ?? "--query-offset \(asked)",
            "the query offset \(plan.problem.queryOffset)")
        }
      }
      return (mix, try plan.problem(on: shape))
    }
  }
}
