import Attention
import AttentionTestSupport
import MachineTopology
import Synchronization
import Testing

/// Numbers below 2^-126 count as zeros, and only those: that makes time independent of values.
@Suite struct DenormalTests {
  /// One key ahead of all others by so much that their weights, or weights times values, would be
  /// denormal. Not where rows of values have scales: beside its 1 a row's 1e-30 is nothing there.
  @Test(
    arguments: Specimen.softmaxInAnyArithmetic.filter { !$0.strategy.arithmetic.hasRowScales },
    [Float(60), 88, 95, 103])
  func faintWeightsWeighNothing(_ specimen: Specimen, _ lead: Float) throws {
    for rows in [1, 3, 17, 60] {
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 2, kvHeads: 1, queryLength: rows, keyLength: 300, headDim: 4, valueDim: 3),
        scoring: Scoring(scale: 1))
      let inputs = TestInputs(problem, seed: rows)
      inputs.query.fill { _, _, _, column in column == 0 ? 1 : 0 }
      inputs.key.fill { _, _, key, column in column == 0 && key % 64 == 0 ? lead : 0 }
      inputs.value.fill { _, _, key, column in
        column == 0 ? 1e-30 : column == 1 ? 1 : Float(Double(1e-40))
      }
      let outputs = try specimen.run(problem, inputs, threads: 2)
      let truth = oracleRows(specimen.strategy.arithmeticOracle(for: problem), inputs)
      let error = outputs.deviation(from: truth)
      #expect(error.maximum < 1e-6 && error.logSumExp < 2e-5, "\(rows) rows: \(error)")
      outputs.output.forEachRow { batch, head, row in
        let output = outputs.output[batch, head, row]
        // bf16 rounds 1e-30.
        #expect(abs(output[0] / 1e-30 - 1) < 0x1p-8 && output[2] == 0, "\(Array(output))")
      }
    }
  }

  /// Denormal inputs change nothing but by as much as they are.
  @Test(arguments: Specimen.all)
  func denormalInputsAreZeros(_ specimen: Specimen) throws {
    for rows in [1, 5, 20, 60] {
      let problem = try AttentionProblem(
        AttentionShape(heads: 2, queryLength: rows, keyLength: 90, headDim: 5, valueDim: 7))
      let faint = TestInputs(problem, seed: rows)
      let none = faint.copy()
      for role in [\TestInputs.query, \.key, \.value] {
        let (mixed, zeros) = (faint[keyPath: role], none[keyPath: role])
        mixed.forEachRow { batch, head, row in
          for column in 0..<mixed.shape.columns where (row + column) % 3 == 0 {
            mixed[batch, head, row, column] =
              column % 2 == 0 ? Float(Double(1e-40)) : -Float(Double(1e-39))
            zeros[batch, head, row, column] = 0
          }
        }
      }
      let (found, expected) = (
        try specimen.run(problem, faint), try specimen.run(problem, none)
      )
      let same = zip(found.bits, expected.bits).allSatisfy {
        Float(bitPattern: $0) == Float(bitPattern: $1)
      }
      #expect(same, "\(rows) rows")
    }
  }

  /// The denormal numbers of fp16 are normal ones of fp32 and count in full.
  @Test(arguments: Specimen.softmax)
  func denormalHalvesAreExact(_ specimen: Specimen) throws {
    let elements = Storage(.float16)
    for rows in [1, 5, 20, 60] {
      let problem = try AttentionProblem(
        AttentionShape(heads: 2, queryLength: rows, keyLength: 90, headDim: 5, valueDim: 7),
        scoring: Scoring(scale: 1))
      let inputs = TestInputs(problem, seed: rows)
      inputs.query.fill { _, _, _, _ in 0x1p14 }
      inputs.key.fill { _, _, key, column in Float(key * 11 % 90 * (column + 1)) * 0x1p-24 }
      inputs.value.fill { _, _, key, column in Float(key * 7 % 90 + column) * 0x1p-24 }
      try StorageTests.check(
        specimen, problem, StoredInputs(inputs, elements), elements, "\(rows) rows")
      let outputs = try specimen.run(problem, inputs)
      let truth = oracleRows(specimen.strategy.oracle(for: problem), inputs)
      #expect(outputs.deviation(from: truth).relativeL2 < 1e-5)
    }
  }

  /// Conversions of every fp16 number are exact on a team's threads too.
  @Test(arguments: KernelFixture.all)
  func halvesWidenExactlyInAJob(_ kernel: KernelFixture) {
    let widening = Widening(kernel)
    Teams.of(2).run(widening)
    for wide in widening.wide {
      let wrong = (0..<UInt16.max).filter {
        let expected = Float(Float16(bitPattern: $0))
        let found = wide[Int($0)]
        return expected.isNaN ? !found.isNaN : found.bitPattern != expected.bitPattern
      }
      #expect(wrong.isEmpty, "\(wrong.count) numbers, \(wrong.first ?? 0)")
    }
  }

  private final class Widening: TeamJob, @unchecked Sendable {
    let kernel: KernelFixture
    var wide = [[Float]](repeating: .init(repeating: .nan, count: 1 << 16), count: 2)

    init(_ kernel: KernelFixture) { self.kernel = kernel }

    func work(worker: Int) {
      let patterns = (0..<1 << 16).map { UInt16($0) }
      var out = [Float](repeating: .nan, count: 1 << 16)
      patterns.withUnsafeBytes { bytes in
        guard var row = bytes.baseAddress else { return }
        kernel.functions.widen(&row, 1, 1 << 16, ElementType.float16.storage, nil, &out)
      }
      lock.withLock { _ in wide[worker] = out }
    }

    private let lock = Mutex<Void>(())
  }
}
