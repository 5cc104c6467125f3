import Attention
import AttentionBench
import TensorFiles

/// What `attnbench run` runs: one strategy, or a plan with one for each head.
enum RunChoice {
  case strategy(any AttentionStrategy)
  case plan(Plan)

  /// The heads' strategies of the one problem that is run, from either kind of plan.
  struct Plan {
    let path: String
    /// What it was measured on.
    let measured: HeadPlan.Problem
    let mix: MixedAttention
    /// The number of the layer in a plan for a model, which holds at any length.
    let layer: Int?
    private let place: (AttentionShape) throws -> AttentionProblem

    /// - Parameter inputs: of `--inputs`; in a plan for a model the prefix says the layer.
    /// - Throws: `RecordError`, `ChoiceFileError`, `UsageError` where the prefix has no number.
    init(path: String, inputs: String?) throws {
      self.path = path
      switch try PlanFile(path: path) {
      case .heads(let plan):
        layer = nil
        place = { shape in
          try plan.check(fits: shape, path: path)
          return try plan.problem(on: shape)
        }
        measured = plan.problem
        mix = try plan.mix(path: path)
      case .model(let plan):
        let prefix = try inputs.flatMap { try TensorReference($0).selector }
        guard let prefix, let number = ModelLayer.number(of: prefix) else {
          throw UsageError(
            "--plan \(path): is for the layers of a model, and the prefix says which one this is; "
              + "write --inputs FILE.safetensors:layer4")
        }
        layer = number
        place = { try plan.problem(ofLayer: number, on: $0, path: path) }
        measured = try plan.measured(ofLayer: number, path: path)
        mix = try plan.mix(ofLayer: number, path: path)
      }
    }

    /// The problem on tensors, which have to be of the plan's sizes.
    func problem(on shape: AttentionShape) throws -> AttentionProblem { try place(shape) }

    /// What to know of the result beside it.
    func cautions(on elements: Storage, _ shape: AttentionShape) -> [String] {
      var cautions: [String] = []
      if let caution = measured.caution(
        on: elements, path: path, remake: layer == nil ? "recommend --per-head" : "recommend")
      {
        cautions.append("warning: \(caution)")
      }
      if measured.queryLength != shape.queryLength || measured.keyLength != shape.keyLength {
        cautions.append(
          "note: \(path) was measured at n = \(measured.keyLength) and ran at \(shape.keyLength): its "
            + "errors and times are not those of this run")
      }
      return cautions
    }
  }

  /// What messages call it: the strategy's name, or the plan's path.
  var name: String {
    switch self {
    case .strategy(let strategy): strategy.name
    case .plan(let plan): plan.path
    }
  }

  /// Why it does not take an operand, and what to do.
  func refusal(of operand: String) -> String {
    if case .strategy(let strategy) = self,
      let family = CommandRegistry.current.families.first(where: { $0.name == strategy.name }),
      family.operands.contains(where: { $0.name == operand })
    {
      let reason =
        NamedOperand(rawValue: operand) == .state
        ? " (a normaliser or random features leave none to go on from)" : ""
      return "\(name) takes no \(operand) with these parameters\(reason); choose others "
        + "(attnbench list), or leave it out"
    }
    let taken = operands.map(\.name)
    return
      (taken.isEmpty
      ? "\(name) takes query, key and value alone"
      : "\(name) takes \(taken.joined(separator: ", "))")
      + "; leave it out"
  }

  /// What it takes beyond query, key and value.
  var operands: [OperandDeclaration] {
    switch self {
    case .strategy(let strategy): strategy.operands
    case .plan(let plan): plan.mix.operands
    }
  }

  /// What to know of the result beside it: how the tensors were stored, once that has been settled.
  func cautions(on problem: AttentionProblem) -> [String] {
    switch self {
    case .strategy: []
    case .plan(let plan): plan.cautions(on: problem.storage, problem.shape)
    }
  }

  /// The strategy and the settings for tensors. A plan brings its own scale and mask; options may
  /// repeat them, not change them.
  ///
  /// - Parameter given: options that a plan has no room for, as typed.
  /// - Throws: `UsageError` naming the option that contradicts, `ChoiceFileError` for tensors that do
  ///   not fit.
  func resolved(
    for file: FileProblem, _ settings: ProblemSettings, given: [String]
  ) throws -> (any AttentionStrategy, ProblemSettings) {
    switch self {
    case .strategy(let strategy): return (strategy, settings)
    case .plan(let plan):
      let planned = try plan.problem(on: file.shape)
      let (path, measured) = (plan.path, plan.measured)
      func contradiction(_ option: String, _ planned: String) -> UsageError {
        UsageError("\(option): \(path) was made for \(planned); leave the option out")
      }
      if let option = given.first {
        throw contradiction(option, "attention without it")
      }
      if file.isPacked { throw contradiction("--cu-seqlens", "sequences of one length") }
      if settings.visibility.causal, !measured.causal {
        throw contradiction("--causal", "attention without a causal mask")
      }
      if let scale = settings.scoring.scale, scale != measured.scale {
        throw contradiction("--scale \(scale)", "the scale \(measured.scale)")
      }
      var own = ProblemSettings()
      (own.scoring, own.visibility) = (planned.scoring, planned.visibility)
      if settings.visibility.offset != .bottomRight {
        let asked: AttentionProblem
        do throws(AttentionError) {
          asked = try settings.problem(on: file.shape)
        } catch {
          throw UsageError.named(error)
        }
        for batch in 0..<file.shape.batch {
          let offset = asked.geometry(batch: batch).offset
          guard offset != planned.geometry(batch: batch).offset else { continue }
          throw contradiction(
            settings.visibility.offset == .topLeft
              ? "--align top-left" : "a query offset of \(offset)",
            "the query offset \(planned.geometry(batch: batch).offset)")
        }
      }
      return (plan.mix, own)
    }
  }
}
