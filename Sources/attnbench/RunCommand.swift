import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles

/// `attnbench run`: attention on tensors from files, once.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Compute attention on tensors from files.",
    discussion: """
      Tensors have shape [b, h, n, d] or [h, n, d]; the output has the rank of q. A .safetensors \
      file given to --inputs holds q, k and v, or PREFIX.q and so on; an output in that format \
      holds o, and lse where it is asked for into the same file.
      Example: attnbench run --inputs qkv.safetensors:layer0 --strategy flash --causal -o out.npy
      """)

  @Option(help: "q, k and v in one file: FILE.safetensors or FILE.safetensors:PREFIX.")
  var inputs: String?

  @Option(name: .customLong("q"), help: "Queries: FILE.npy or FILE.safetensors:KEY.")
  var query: String?

  @Option(name: .customLong("k"), help: "Keys, likewise.")
  var key: String?

  @Option(name: .customLong("v"), help: "Values, likewise.")
  var value: String?

  @Option(help: "The strategy, as flash or 'window(512, sinks: 4)'; see attnbench list.")
  var strategy: String?

  @Option(help: "A strategy for each head instead: PLAN.json of recommend --per-head --save.")
  var plan: String?

  @Option(name: [.customShort("o"), .customLong("output")], help: "Output: .npy or .safetensors.")
  var output: String

  @Option(help: "Write the natural logarithm of each row's denominator too.")
  var lse: String?

  @OptionGroup var mask: MaskOptions
  @OptionGroup var logits: LogitOptions

  @Option(help: "Order of the axes of all tensors: bhnd or bnhd.")
  var layout = TensorLayout.bhnd

  @Option(help: "Element type of the output: f32, f16 or bf16 (.safetensors only).")
  var dtype = OutputType.f32

  @OptionGroup var threads: ThreadOptions
  @OptionGroup var blas: BLASOptions

  mutating func run() throws {
    let choice = try choice()
    try checkOutputs()
    let file = try readInputs()
    let (strategy, problem) = try choice.resolved(for: file.shape, mask, logits)
    let topology = try MachineTopology.host()
    let team = try threads.team(of: threads.count(on: topology), on: topology)
    blas.announce()

    let result = try AttentionRun(strategy, on: problem, of: file, team: team, wantsLSE: lse != nil)
    try write(result)

    let written = ([output] + [lse].compactMap { $0 }).joined(separator: ", ")
    let workers = team.threadCount == 1 ? "1 thread" : "\(team.threadCount) threads"
    Terminal.say(
      "\(strategy.explainedSpec(for: problem)) on \(problem.summary), \(workers): "
        + "\(TimeSpan.rounded(seconds: result.duration / .seconds(1))), wrote \(written)")
  }

  /// What is to be run: the one or the other, and not both.
  private func choice() throws -> RunChoice {
    switch (strategy, plan) {
    case (let strategy?, nil): .strategy(try StrategyOptions.strategy(strategy))
    case (nil, let plan?): .plan(try HeadPlan(path: plan), path: plan)
    case (nil, nil): throw UsageError("say what to run, with --strategy S or --plan PLAN.json")
    case (.some, let plan?):
      throw UsageError("--plan \(plan): has a strategy for each head; leave out --strategy")
    }
  }

  /// What cannot be written should show before minutes are spent.
  private func checkOutputs() throws {
    for path in [output] + [lse].compactMap({ $0 }) {
      guard path.hasSuffix(".npy") || path.hasSuffix(".safetensors") else {
        throw TensorFileError(path: path, .unknownExtension)
      }
      if path.hasSuffix(".npy"), dtype == .bf16 {
        throw TensorFileError(path: path, .unwritableElementType(.bfloat16))
      }
    }
    if lse == output, output.hasSuffix(".npy") {
      throw UsageError("--lse \(output): is the output too, and a .npy file holds one tensor")
    }
  }

  private func readInputs() throws -> FileProblem {
    switch (inputs, query, key, value) {
    case (let inputs?, nil, nil, nil):
      return try InputFiles.problem(inputs: inputs, layout: layout)
    case (nil, let query?, let key?, let value?):
      return try InputFiles.problem(query: query, key: key, value: value, layout: layout)
    case (nil, _, _, _):
      throw UsageError("give --inputs FILE.safetensors, or all of --q, --k and --v")
    default:
      throw UsageError("--inputs holds q, k and v; leave out --q, --k and --v")
    }
  }

  /// Writes all or nothing.
  private func write(_ result: AttentionRun) throws {
    let type = dtype.elementType
    guard let lse, let logSumExp = result.logSumExp else {
      try TensorFile.write(result.output, as: type, named: "o", to: output)
      return
    }
    // Rounding a logarithm to fp16 would cost three digits of every weight: it stays fp32.
    if lse == output {
      try SafetensorsFile.write(
        [NamedTensor("o", result.output, as: type), NamedTensor("lse", logSumExp)], to: output)
      return
    }
    try TensorFile.write(result.output, as: type, named: "o", to: output)
    do {
      try TensorFile.write(logSumExp, named: "lse", to: lse)
    } catch {
      unlink(output)
      throw error
    }
  }
}

/// The values of `--dtype`.
enum OutputType: String, CaseIterable, ExpressibleByArgument {
  case f32
  case f16
  case bf16

  var elementType: TensorElementType {
    switch self {
    case .f32: .float32
    case .f16: .float16
    case .bf16: .bfloat16
    }
  }
}
