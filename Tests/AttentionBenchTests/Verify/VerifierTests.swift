import Attention
import AttentionBench
import MachineTopology
import Testing

@Suite("Verifier")
struct VerifierTests {
  private func verify(
    _ family: StrategyFamily, n: Int = 2000, causal: Bool = true, rows: Int = 40,
    memory: ByteCount = ByteCount(1 << 40), elements: Storage = Storage()
  ) throws -> Verification {
    let registry = StrategyRegistry([family])
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, kvHeads: 1, queryLength: n, headDim: 16),
      visibility: Visibility(causal: causal), storage: elements)
    let verifier = Verifier(
      team: try WorkerTeam(threads: 1), rowLimit: rows, seed: 3, memoryLimit: memory)
    return verifier.verify(
      try registry.strategy(family.name), on: problem
    ) { _ throws(AttentionError) in try ProblemTensors(random: problem.shape, seed: 5) }
  }

  private static let faults: [StrategyFamily] = [
    Imprecise.family, Forgetful.family, WrongBase.family, Pretender.family, OffByOne.family,
  ]

  @Test("a strategy from outside that is right passes")
  func faultless() throws {
    let result = try verify(Faultless.family)
    guard case .pass(let comparison) = result.outcome else {
      Issue.record("\(result.outcome)")
      return
    }
    #expect(!result.isFailure)
    #expect(result.strategy == "faultless")
    #expect(comparison.rowsChecked == 40)
    #expect(comparison.errors.relativeL2 > 0)
    #expect(comparison.errors.relativeL2 <= comparison.bounds.relativeL2)
    #expect(comparison.errors.maximum <= comparison.bounds.maximum)
    #expect(comparison.errors.logSumExp <= comparison.bounds.logSumExp)
  }

  @Test("faults fail", arguments: 0..<faults.count)
  func faulty(_ index: Int) throws {
    let result = try verify(Self.faults[index])
    #expect(result.isFailure)
    guard case .fail(let comparison) = result.outcome else {
      Issue.record("\(Self.faults[index].name): \(result.outcome)")
      return
    }
    #expect(!comparison.bounds.allow(comparison.errors))
  }

  @Test("storage is no error, and hides none", arguments: [ElementType.float16, .bfloat16])
  func storage(_ type: ElementType) throws {
    let elements = Storage(type)
    guard case .pass(let comparison) = try verify(Faultless.family, elements: elements).outcome
    else {
      Issue.record("\(try verify(Faultless.family, elements: elements).outcome)")
      return
    }
    // Rounding the output shows, and about nothing else does.
    #expect(comparison.errors.relativeL2 > type.unitRoundoff / 10)
    #expect(comparison.bounds.relativeL2 < 1.1 * type.unitRoundoff)
    #expect(comparison.errors.logSumExp < 1e-4)
    for fault: StrategyFamily in [WrongBase.family, Pretender.family, OffByOne.family] {
      #expect(try verify(fault, elements: elements).isFailure, "\(fault.name)")
    }
  }

  @Test(
    "bf16 products are within bounds of their own, and a key too few is not",
    .enabled(if: KernelTable.active.runs(.bfloat16)))
  func bfloat16Products() throws {
    let verifier = Verifier(
      team: try WorkerTeam(threads: 2), rowLimit: 40, seed: 3, memoryLimit: ByteCount(1 << 40))
    let texts = ["flash(arithmetic: bf16)", "flash(arithmetic: bf16, kv: int8-token)"]
    for problem in try VerificationProblem.randomShapes(count: 24, seed: 9) {
      let tensors = try problem.tensors()
      for text in texts {
        let strategy = try StrategyRegistry.standard.strategy(text)
        let result = verifier.verify(strategy, on: problem.problem) { _ in tensors }
        guard case .pass = result.outcome else {
          Issue.record("\(text) on \(problem): \(result.outcome)")
          continue
        }
      }
    }
    let found = try verify(CoarseOffByOne.family)
    guard case .fail(let comparison) = found.outcome else {
      Issue.record("\(found.outcome)")
      return
    }
    #expect(comparison.bounds.relativeL2 < 1.5 * 0x1p-8)
  }

  @Test(
    "products whose rows have scales are within bounds of their own",
    arguments: Arithmetic.allCases.filter { $0.hasRowScales && KernelTable.active.runs($0) })
  func scaledProducts(_ arithmetic: Arithmetic) throws {
    let verifier = Verifier(
      team: try WorkerTeam(threads: 2), rowLimit: 20, seed: 3, memoryLimit: ByteCount(1 << 40))
    let option = "arithmetic: \(arithmetic.rawValue)"
    for problem in try VerificationProblem.randomShapes(count: 8, seed: 9) {
      let tensors = try problem.tensors()
      for text in ["flash(\(option))", "flash(\(option), kv: f16)", "window(9, \(option))"] {
        let strategy = try StrategyRegistry.standard.strategy(text)
        let result = verifier.verify(strategy, on: problem.problem) { _ in tensors }
        guard case .pass = result.outcome else {
          Issue.record("\(text) on \(problem): \(result.outcome)")
          continue
        }
      }
    }
  }

  @Test("outputs below the least normal number are right as zeros")
  func tinyOutputs() throws {
    let verifier = Verifier(
      team: try WorkerTeam(threads: 2), rowLimit: 20, seed: 3, memoryLimit: ByteCount(1 << 40))
    for problem in try VerificationProblem.randomShapes(count: 6, seed: 4) {
      let tensors = try problem.tensors()
      let values = tensors.value.elements
      for index in values.indices { values[index] *= 1e-36 }
      for text in ["full", "flash", "window(64)"] {
        let strategy = try StrategyRegistry.standard.strategy(text)
        let result = verifier.verify(strategy, on: problem.problem) { _ in tensors }
        guard case .pass = result.outcome else {
          Issue.record("\(text) on \(problem): \(result.outcome)")
          continue
        }
      }
    }
  }

  @Test("a wrong log-sum-exp fails although every output is right")
  func logSumExpAlone() throws {
    guard case .fail(let comparison) = try verify(WrongBase.family).outcome else {
      Issue.record("passed")
      return
    }
    #expect(comparison.errors.relativeL2 <= comparison.bounds.relativeL2)
    #expect(comparison.errors.logSumExp > comparison.bounds.logSumExp)
  }

  @Test("an element that is not written fails with an infinite error")
  func unwritten() throws {
    guard case .fail(let comparison) = try verify(Forgetful.family).outcome else {
      Issue.record("passed")
      return
    }
    #expect(comparison.errors.maximum == .infinity)
  }

  @Test("a refusal is a failure that keeps the reason")
  func refusal() throws {
    let result = try verify(Refusing.family)
    #expect(result.isFailure)
    guard case .refused(let error) = result.outcome else {
      Issue.record("\(result.outcome)")
      return
    }
    #expect(error.description == "headDim = 16: must be 7")
  }

  @Test("more workspace than allowed is a skip with the numbers")
  func memory() throws {
    let result = try verify(Faultless.family, memory: ByteCount(1))
    #expect(!result.isFailure)
    guard case .skipped(let needed, let limit) = result.outcome else {
      Issue.record("\(result.outcome)")
      return
    }
    #expect(needed > limit)
    #expect(limit == ByteCount(1))
  }

  @Test("every strategy of the package passes on random shapes", arguments: [1, 2, 3] as [UInt64])
  func standard(_ seed: UInt64) throws {
    let verifier = Verifier(
      team: try WorkerTeam(threads: 2), rowLimit: 24, seed: seed,
      memoryLimit: ByteCount(1 << 40))
    for problem in try VerificationProblem.randomShapes(count: 8, seed: seed) {
      let tensors = try problem.tensors()
      for strategy in try StrategyRegistry.standard.defaults() {
        let result = verifier.verify(strategy, on: problem.problem) {
          (operands) throws(AttentionError) in try problem.adding(operands, to: tensors)
        }
        #expect(!result.isFailure, "\(result.strategy) on \(problem): \(result.outcome)")
      }
    }
  }
}

@Suite("Row sample")
struct RowSampleTests {
  private func shape(n: Int) throws -> AttentionShape {
    try AttentionShape(batch: 2, heads: 3, queryLength: n, headDim: 1)
  }

  @Test("takes every row where there are few")
  func all() throws {
    let rows = RowSample(try shape(n: 4), limit: 24, seed: 1).rows
    #expect(Set(rows).count == 24)
    #expect(rows.count == 24)
  }

  @Test("draws rows once each, within the shape, both ends of the last head among them")
  func drawn() throws {
    let rows = RowSample(try shape(n: 100), limit: 50, seed: 1).rows
    #expect(rows.count == 50)
    #expect(Set(rows).count == 50)
    #expect(rows.allSatisfy { $0.batch < 2 && $0.head < 3 && $0.row < 100 })
    #expect(rows.contains(SampledRow(batch: 1, head: 2, row: 0)))
    #expect(rows.contains(SampledRow(batch: 1, head: 2, row: 99)))
    #expect(rows == RowSample(try shape(n: 100), limit: 50, seed: 1).rows)
    #expect(rows != RowSample(try shape(n: 100), limit: 50, seed: 2).rows)
  }

  @Test("one row is one row")
  func one() throws {
    #expect(RowSample(try shape(n: 100), limit: 1, seed: 1).rows.count == 1)
  }
}
