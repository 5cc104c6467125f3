import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles

/// `attnbench verify`: is every strategy what it says it is?
package struct VerifyCommand: BLASCommand {
  package static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compare strategies with their definitions in fp64.",
    discussion: """
      Without --n and --inputs: random shapes, the real tensors of the repository where they are \
      found, and two larger sizes. One line a strategy and problem; exit code 1 on any FAIL, and where \
      all was skipped and nothing checked.
      A bound follows from the problem: what one more rounding of the inputs to fp32 does to the \
      fp64 result, times sqrt(d) + sqrt(keys) + 2 for the roundings of the sums, and twice that for \
      the largest error and the LSE. Storing the output as f16 or bf16 (--dtype) adds its rounding. \
      A strategy with arithmetic: bf16, fp16, int8 or int8-qk is compared with its definition on \
      operands rounded as that arithmetic rounds them, and three times what rounding the weights to as \
      many bits does is added. All but bf16 round sums to fp16 or weights to 255ths on the way, too: \
      three times what such roundings do, drawn at random, is added as well. What few bits add to the \
      relative L2 bound ends at 0.25.
      Example: attnbench verify --n 1000,100k --strategy flash,linear --causal
      """)

  @Option(parsing: .unconditional, help: "Query lengths, as 128,1000 or 1k..100k.")
  var n: String?

  @OptionGroup var strategy: StrategyOptions
  @OptionGroup var shape: ShapeOptions
  @OptionGroup var mask: MaskOptions
  @OptionGroup var storage: StorageOptions

  @Option(
    help: """
      Tensors of your own, as FILE.safetensors or FILE.safetensors:PREFIX, with the mask and the \
      scores that their metadata state unless options say otherwise.
      """,
    transform: PathOption.parse)
  var inputs: [String] = []

  @Option(help: "Order of the axes in --inputs: bhnd or bnhd.")
  var layout = TensorLayout.bhnd

  @Option(
    parsing: .unconditional,
    help: "Query rows checked for each strategy and problem (default: 64).",
    transform: Count.parse)
  var rows = 64

  @Option(parsing: .unconditional, help: "Seed of shapes, tensors and rows.")
  var seed: UInt64 = 1

  @OptionGroup var threads: ThreadOptions
  @OptionGroup var blasOptions: BLASOptions

  /// The cut of real tensors that the repository ships.
  private static let shippedTensors = "Tests/Fixtures/real/minilm-n512-layers0and3.safetensors"

  package init() {}

  package mutating func run() throws {
    guard rows >= 1 else {
      throw UsageError("--rows \(rows): at least 1 row must be checked; leave it out for 64")
    }
    let strategies = try strategy.strategies()
    let topology = try MachineTopology.host()
    let workers = try threads.count(on: topology)
    let problems = try problems(strategies).map { try $0.storing(storage.elements) }
    let team = try threads.team(of: workers, on: topology)
    _ = try measureBLAS()

    let available = MachineMemory.current()?.availableBytes ?? .max
    let verifier = Verifier(
      team: team, rowLimit: rows, seed: seed,
      memoryLimit: MemoryLimit.available(try Percent(parsing: "80%", argument: "--max-memory"))
        .resolved(available: ByteCount(available)))
    var tally = VerifyTally()
    try Terminal.print(VerifyLine.header)
    for problem in problems {
      var made: ProblemTensors?
      for strategy in strategies {
        let result = verifier.verify(strategy, on: problem.problem) {
          (operands) throws(AttentionError) in
          let tensors = if let made { made } else { try problem.tensors() }
          made = tensors
          return try problem.adding(operands, to: tensors)
        }
        tally.add(result)
        try Terminal.print(VerifyLine.text(result, problem))
      }
    }
    try Terminal.print(tally.summary)
    if tally.failed > 0 || tally.isEmpty { throw CommandExit.failure }
  }

  private func problems(
    _ strategies: [any AttentionStrategy]
  ) throws -> [VerificationProblem] {
    let files = try inputs.flatMap { try fileProblems($0, strategies) }
    if n == nil, !inputs.isEmpty { return files }
    if let n {
      return try files + SizeList(parsing: n).sizes.map { try sized($0, causal: mask.causal) }
    }
    // The user's own shape options hold for the larger sizes; the others have their own shapes.
    return try VerificationProblem.randomShapes(count: 12, seed: seed) + shippedProblems()
      + [sized(1000, causal: mask.causal), sized(5000, causal: true)]
  }

  private func sized(_ n: Int, causal: Bool) throws -> VerificationProblem {
    VerificationProblem(
      try mask.problem(try shape.shape(queryLength: n), causal: causal),
      source: .random(seed: seed), name: "random")
  }

  private func fileProblems(
    _ argument: String, _ strategies: [any AttentionStrategy]
  ) throws -> [VerificationProblem] {
    if n == nil { try shape.refuse(beside: argument) }
    let file = try InputFiles.problem(
      inputs: argument, layout: layout, operands: strategies.flatMap(\.operands))
    let stated = try StatedAttention(mask, inputs: argument, on: file.shape)
    stated.announce(argument)
    return [
      VerificationProblem(
        try stated.problem(on: file.shape, elements: Storage()), source: .file(file),
        name: Self.shortName(argument))
    ]
  }

  /// Both layers, with and without a causal mask.
  private func shippedProblems() throws -> [VerificationProblem] {
    guard FileManager.default.fileExists(atPath: Self.shippedTensors) else {
      Terminal.say(
        "note: real tensors not checked: there is no \(Self.shippedTensors) here; run in the "
          + "repository, or give --inputs FILE.safetensors")
      return []
    }
    return try ["layer0", "layer3"].flatMap { layer in
      let argument = "\(Self.shippedTensors):\(layer)"
      let file = try InputFiles.problem(inputs: argument, layout: .bhnd)
      return try [false, true].map { causal in
        VerificationProblem(
          try AttentionProblem(file.shape, visibility: Visibility(causal: causal)),
          source: .file(file, seed: seed),
          name: Self.shortName(argument))
      }
    }
  }

  private static func shortName(_ argument: String) -> String {
    argument.split(separator: "/").last.map(String.init) ?? argument
  }
}

extension TensorLayout: ExpressibleByArgument {}
