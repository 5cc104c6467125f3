import Attention
import AttentionBench
import AttentionTestSupport
import MachineTopology
import TensorFiles
import Testing

/// A strategy with an operand of its own goes through the harness like the others: `GatedRecurrence`
/// is one file and one line in a registry.
@Suite struct OperandTests {
  private static let registry = StrategyRegistry.standard.adding(GatedRecurrence.family)
    .adding(Undecayed.family)

  private func verifier() throws -> Verifier {
    Verifier(
      team: try WorkerTeam(threads: 2), rowLimit: 40, seed: 3, memoryLimit: ByteCount(1 << 40))
  }

  @Test func itIsVerifiedOnRandomShapes() throws {
    let gated = try Self.registry.strategy("gated")
    for problem in try VerificationProblem.randomShapes(count: 16, seed: 2) {
      let result = try verifier().verify(gated, on: problem.problem, tensors: problem.tensors)
      guard case .pass(let comparison) = result.outcome else {
        Issue.record("\(problem): \(result.outcome)")
        continue
      }
      #expect(comparison.rowsChecked > 0)
    }
  }

  /// The harness gives it real decays: one that leaves them out is found.
  @Test func oneThatIgnoresItsOperandFails() throws {
    let problem = VerificationProblem(
      try Self.problem(n: 50), source: .random(seed: 1), name: "random")
    let result = try verifier().verify(
      Self.registry.strategy("undecayed"), on: problem.problem, tensors: problem.tensors)
    guard case .fail = result.outcome else {
      Issue.record("\(result.outcome)")
      return
    }
  }

  @Test func memoryForItsOperandsIsAskedFor() throws {
    let problem = try Self.problem(n: 50)
    let gated = try Self.registry.strategy("gated")
    let own = 4 * gated.workspaceFloats(problem) + 2 * problem.tensorBytes
    func outcome(_ limit: Int) throws -> Verification.Outcome {
      Verifier(
        team: try WorkerTeam(threads: 1), rowLimit: 1, seed: 1, memoryLimit: ByteCount(limit)
      ).verify(gated, on: problem) { operands throws(AttentionError) in
        try ProblemTensors(random: problem.shape, seed: 1)
          .with(operands.random(for: problem.shape, seed: 1))
      }.outcome
    }
    // Twice: as drawn, and moved by a rounding.
    let decay = 2 * 4 * 2 * 2 * 50
    guard case .skipped = try outcome(own + decay - 1), case .pass = try outcome(own + decay) else {
      Issue.record("the limit is not \(own) + \(decay)")
      return
    }
  }

  @Test func randomValuesAreThoseOfTheNameAndThePlace() throws {
    let (small, large) = (try Self.problem(n: 20).shape, try Self.problem(n: 33).shape)
    let other = OperandDeclaration(
      "beta", axes: [.batch, .kvHeads, .keyLength], meaning: "step", domain: 0...1
    ) { Float($0) }
    func values(
      _ declared: [OperandDeclaration], _ shape: AttentionShape, seed: UInt64 = 4
    ) throws -> [[Float]] {
      let tensor = try #require(try declared.random(for: shape, seed: seed)["decay"])
      return (0..<4).map { head in
        Array(tensor.elements[head * shape.keyLength..<(head + 1) * shape.keyLength])
      }
    }
    let alone = try values([GatedRecurrence.decay], small)
    #expect(try values([other, GatedRecurrence.decay], small) == alone)
    #expect(try values([GatedRecurrence.decay], large).map { Array($0.prefix(20)) } == alone)
    #expect(try values([GatedRecurrence.decay], small, seed: 5) != alone)
    #expect(Set(alone).count == 4)
    #expect(alone.joined().allSatisfy { $0 <= 0 })
    let beta = try #require(try [other].random(for: small, seed: 4)["beta"])
    #expect(!zip(beta.elements, alone.joined()).allSatisfy { $0 == -$1 / 0.2 })
  }

  @Test func aDeclarationThatDrawsWhatItForbidsIsRefused() throws {
    let wrong = OperandDeclaration(
      "gate", axes: [.batch, .heads], meaning: "a share", domain: 0...1
    ) { Float($0) + 1.5 }
    let error = #expect(throws: AttentionError.self) {
      try [wrong].random(for: Self.problem(n: 3).shape, seed: 1)
    }
    #expect(error?.argument == "gate[0, 0, 0, 0]")
  }

  @Test func itIsSweptBesideTheOthers() throws {
    let rows = try Self.sweep(sizes: [24, 60], inputs: .normal(seed: 1))
    #expect(rows.count == 6)
    for row in rows {
      let n = row.shape.queryLength
      let tensors = 4 * 2 * n * (4 * 8 + 2 * 8 + 2 * 5 + 4 * 5)
      if row.strategy.name == "flash" {
        #expect([.ok, .noisy].contains(row.status), "\(row.reason)")
        #expect(row.accuracy.relativeL2 != nil)
        #expect(row.work.minimumBytes == tensors)
        continue
      }
      #expect(row.accuracy.relativeL2 == nil && row.accuracy.maximumAbsolute == nil)
      #expect(row.work.minimumBytes == tensors + 4 * 2 * 2 * n)
      let error = try #require(row.accuracy.oracleRelativeL2)
      if row.strategy.name == "gated" {
        #expect([.ok, .noisy].contains(row.status), "\(row.reason)")
        #expect(row.reason.contains("needs a model trained for it"))
        #expect(error < 1e-5)
      } else {
        #expect(row.status == .wrong)
        #expect(error > 1e-3)
      }
    }
  }

  /// Both strategies take one tensor, whose first rows are those of the file.
  @Test func itIsSweptOnTensorsFromFiles() throws {
    let file = try Self.file()
    let decay = try Self.source(Self.decays)
    let given = try file.adding([("decay", decay)], declared: [GatedRecurrence.decay])
    for row in try Self.sweep(sizes: [5, 9], inputs: .tensors(given)) {
      #expect((row.status == .wrong) == (row.strategy.name == "undecayed"), "\(row.reason)")
      #expect(row.status != .error, "\(row.reason)")
    }
    // Without it, those that do not need it run.
    for row in try Self.sweep(sizes: [9], inputs: .tensors(file)) {
      #expect((row.status == .error) == (row.strategy.name != "flash"))
      #expect(row.strategy.name == "flash" || row.reason.contains("operand decay = missing"))
    }
  }

  @Test func itRunsOnTensorsFromFiles() throws {
    let problem = try Self.problem(n: 9)
    let gated = GatedRecurrence()
    let given = try Self.file().adding(
      [("decay", Self.source(Self.decays))], declared: gated.operands)
    let run = try AttentionRun(
      gated, on: problem, of: given, team: WorkerTeam(threads: 2), wantsLSE: true)
    let oracle = gated.oracle(for: problem)
    let tensors = try given.tensors().with(given.operands(gated.operands, for: problem.shape))
    let output = try #require(try run.output.floats())
    output.withUnsafeElements { elements in
      for head in 0..<8 {
        for row in 0..<9 {
          let expected = oracle.row(tensors.views, batch: head / 4, head: head % 4, row: row)
          for column in 0..<5 {
            let found = Double(elements[(head * 9 + row) * 5 + column])
            #expect(abs(found - expected.output[column]) < 1e-5)
          }
        }
      }
    }
  }

  /// A batch of 1 may be left out, as it may of q, k and v.
  @Test func aBatchOfOneMayBeLeftOut() throws {
    let file = try Self.file(batch: 1)
    let gated = GatedRecurrence()
    let shape = try Self.problem(n: 9, batch: 1).shape
    for sizes in [[2, 9], [1, 2, 9]] {
      let decay = try Self.source(HostTensor(shape: sizes) { $0.update(repeating: -0.5) })
      let given = try file.adding([("decay", decay)], declared: gated.operands)
      let tensor = try #require(try given.operands(gated.operands, for: shape)["decay"])
      #expect(tensor.elements.allSatisfy { $0 == -0.5 } && tensor.elements.count == 18)
    }
  }

  @Test func whatIsNoValidOperandIsRefused() throws {
    let file = try Self.file()
    let declared = [GatedRecurrence.decay]
    let good = try Self.source(Self.decays)
    func refused(
      _ sources: [(name: String, source: FileProblem.Source)], _ words: [String]
    ) {
      let error = #expect(throws: (any Error).self) {
        try file.adding(sources, declared: declared)
      }
      let text = error.map { "\($0)" } ?? ""
      #expect(words.allSatisfy(text.contains), "\(text)")
    }
    refused([("decai", good)], ["operand decai", "takes decay", "leave it out"])
    refused([("decay", good), ("decay", good)], ["operand decay", "leave one of them out"])
    for sizes in [[2, 2, 8], [2, 9], [1, 2, 9], [2, 2, 9, 1]] {
      refused(
        [("decay", try Self.source(HostTensor(shape: sizes) { $0.update(repeating: 0) }))],
        ["decay.npy", "\(sizes)", "[b, hKV, nKV] = [2, 2, 9]"])
    }
    for value in [Float(0.25), .nan, .infinity] {
      let tensor = try HostTensor(shape: [2, 2, 9]) {
        $0.update(repeating: -1)
        $0[9 + 4] = value
      }
      refused([("decay", try Self.source(tensor))], ["decay[0, 1, 4", "\(value)", "-inf...0.0"])
    }
    let error = #expect(throws: AttentionError.self) {
      try file.operands(declared, for: file.shape)
    }
    #expect(error?.description.contains("operand decay = missing: [b, hKV, nKV] is needed") == true)
    let none = #expect(throws: AttentionError.self) {
      try file.adding([("decay", good)], declared: [])
    }
    #expect(none?.description.contains("query, key and value alone") == true)
  }

  private static let decays: HostTensor = {
    guard
      let tensor = try? HostTensor(
        shape: [2, 2, 9],
        initializing: { elements in
          for index in elements.indices {
            elements[index] = index == 7 ? -.infinity : Float(index % 5) * -0.3
          }
        })
    else { fatalError("no memory") }
    return tensor
  }()

  private static func source(_ tensor: HostTensor) throws -> FileProblem.Source {
    FileProblem.Source(tensor, name: "--operand decay=decay.npy")
  }

  private static func problem(n: Int, batch: Int = 2) throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(
        batch: batch, heads: 4, kvHeads: 2, queryLength: n, headDim: 8, valueDim: 5),
      visibility: Visibility(causal: true))
  }

  /// Random tensors as if read from files.
  private static func file(batch: Int = 2) throws -> FileProblem {
    let tensors = try ProblemTensors(random: problem(n: 9, batch: batch).shape, seed: 6)
    func source(_ tensor: Tensor, _ name: String) throws -> FileProblem.Source {
      let shape = tensor.shape
      return FileProblem.Source(
        try HostTensor(shape: [shape.batch, shape.heads, shape.rows, shape.columns]) {
          _ = $0.update(from: tensor.elements)
        }, name: name)
    }
    return try FileProblem(
      query: source(tensors.query, "q"), key: source(tensors.key, "k"),
      value: source(tensors.value, "v"))
  }

  private static func sweep(sizes: [Int], inputs: SweepInputs) throws -> [ResultRow] {
    let topology = try MachineTopology.host()
    let plan = try SweepPlan(
      sizes: sizes, strategies: registry.strategies("flash,gated,undecayed"),
      placements: [SweepPlacement(threads: 1, binding: nil, topology: topology)], seed: 1
    ) { try problem(n: $0) }
    var limits = SweepLimits()
    limits.relativeInterval = 0.5
    limits.minimumSamples = 3
    let results = ResultCollector()
    let engine = SweepEngine(
      plan: plan, limits: limits,
      instruments: SweepEngine.Instruments(
        executor: try AttentionExecutor(
          placements: plan.placements, inputs: inputs, seed: 1, topology: topology),
        clock: MonotonicClock(), probe: HostProbe(cpus: topology.allowed), store: results),
      labels: RowLabels(
        runID: "real",
        build: ResultRow.Build(blasCore: BLASLibrary.core, isa: KernelTable.active.name)))
    _ = try engine.run()
    return results.rows
  }
}

extension AttentionStrategy {
  fileprivate func workspaceFloats(_ problem: AttentionProblem) -> Int {
    ((try? work(for: problem, threads: 1).workspaceBytes) ?? 0) / 4
  }
}

/// `gated` as somebody would write it who forgets the decay.
private struct Undecayed: FamilyStrategy {
  static let family = StrategyFamily(
    "undecayed", operatorClass: .different, summary: "defined by a test", source: "none",
    operands: [GatedRecurrence.decay]
  ) { _ throws(AttentionError) in Undecayed() }

  private let inner = GatedRecurrence()

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate { try inner.work(for: problem, threads: threads) }

  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try UndecayedPlan(inner.plan(for: problem, on: team))
  }

  func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    inner.oracle(for: problem)
  }
}

private final class UndecayedPlan: AttentionPlan {
  private let inner: any AttentionPlan
  /// `[b, hKV, nKV]` of zeros.
  private let zeros: Tensor

  init(_ inner: any AttentionPlan) throws(AttentionError) {
    self.inner = inner
    zeros = try Tensor(GatedRecurrence.decay.shape(in: inner.problem.shape))
  }

  var problem: AttentionProblem { inner.problem }
  var workspaceBytes: Int { inner.workspaceBytes }
  var declaredOperands: [OperandDeclaration] { inner.declaredOperands }

  func execute(_ operands: AttentionOperands) {
    var operands = operands
    operands.inputs.named["decay"] = zeros.view
    inner.execute(operands)
  }
}
