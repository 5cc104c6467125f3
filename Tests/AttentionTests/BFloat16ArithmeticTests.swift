import Attention
import AttentionTestSupport
import MachineTopology
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// Whether the processor multiplies bf16 numbers.
let multipliesBFloat16 = KernelTable.active.runs(.bfloat16)

/// `flash(arithmetic: bf16)`: the tasks of every flash, with other products.
@Suite(.enabled(if: multipliesBFloat16, "the processor has no AVX512_BF16"))
struct BFloat16ArithmeticTests {
  static let lengths = [1, 2, 47, 48, 49, 95, 96, 97, 129, 200]
  static let dimensions = [1, 7, 32, 33, 64, 80]
  static let elements: [Storage] = [
    Storage(), Storage(.float16), Storage(.bfloat16),
    Storage(.float32, keyValue: .int8PerToken),
    Storage(.bfloat16, keyValue: .int8PerChannel),
  ]

  static func specimen(_ parameters: String = "") throws -> Specimen {
    let text = "flash(\(parameters)arithmetic: bf16)"
    return Specimen(text: text, strategy: try Specimen.registry.strategy(text))
  }

  /// Runs and compares with fp64.
  private func check(
    _ problem: AttentionProblem, _ inputs: TestInputs, threads: Int = 2, _ comment: String
  ) throws {
    let specimen = try Self.specimen()
    let outputs = try specimen.run(problem, inputs, threads: threads)
    ErrorGate.checkBFloat16(specimen.strategy, problem, inputs, outputs, comment)
  }

  /// Every length with every dimension, causal or not, keys more or fewer than queries, dV != d.
  @Test(arguments: lengths)
  func agreesWithFP64AroundTileEdges(_ n: Int) throws {
    for (number, headDim) in Self.dimensions.enumerated() {
      for (step, causal) in [(0, false), (1, true), (5, true)] {
        let valueDim = Self.dimensions[(number + step) % Self.dimensions.count]
        let keys = Self.lengths[(number + n) % Self.lengths.count]
        for keyLength in [n, keys] {
          let problem = try AttentionProblem(
            AttentionShape(
              heads: 2, kvHeads: number % 2 + 1, queryLength: n, keyLength: keyLength,
              headDim: headDim, valueDim: valueDim), visibility: Visibility(causal: causal))
          try check(
            problem, TestInputs(problem, seed: number + n),
            "n \(n) on \(keyLength), d \(headDim), dV \(valueDim), causal \(causal)")
        }
      }
    }
  }

  /// Shapes, offsets, key lengths, layouts and fills in step: ascending scores keep raising the
  /// maxima, wide logits spread the weights.
  @Test(arguments: 0..<60)
  func agreesWithFP64(_ number: Int) throws {
    let test = try TestCase(number)
    let specimen = try Self.specimen()
    let inputs = test.inputs()
    let outputs = try specimen.run(test, inputs)
    ErrorGate.checkBFloat16(specimen.strategy, test.problem, inputs, outputs, "\(test)")
  }

  @Test(arguments: TestFill.allCases)
  func agreesWithFP64UnderEveryOption(_ fill: TestFill) throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 129, keyLength: 97, headDim: 33, valueDim: 7)
    let problems: [(String, AttentionProblem)] = [
      (
        "softcap",
        try AttentionProblem(
          shape, scoring: Scoring(softcap: 5), visibility: Visibility(causal: true))
      ),
      (
        "sinks",
        try AttentionProblem(
          shape, scoring: Scoring(sinkLogits: [0, -3, 2, 30]), visibility: Visibility(causal: true))
      ),
      (
        "key lengths",
        try AttentionProblem(shape, visibility: Visibility(causal: false, keyLengths: [0, 51]))
      ),
      (
        "prefix",
        try AttentionProblem(shape, visibility: Visibility(causal: true, prefixLengths: [13, 60]))
      ),
      (
        "no scale",
        try AttentionProblem(
          shape, scoring: Scoring(scale: 0), visibility: Visibility(causal: true))
      ),
      (
        "negative scale",
        try AttentionProblem(
          shape, scoring: Scoring(scale: -0.2), visibility: Visibility(causal: true))
      ),
      (
        "empty rows",
        try AttentionProblem(
          shape, visibility: Visibility(causal: true, offset: .perBatch([-77, -200])))
      ),
      (
        "all",
        try AttentionProblem(
          shape, scoring: Scoring(scale: -0.1, softcap: 3, sinkLogits: [1, 2, 3, -1]),
          visibility: Visibility(causal: true, offset: .fixed(-5), keyLengths: [97, 40]))
      ),
    ]
    for (name, problem) in problems {
      try check(problem, TestInputs(problem, fill: fill, seed: 3), "\(name), \(fill.rawValue)")
    }
  }

  /// Products of stored elements are those of what they stand for.
  @Test(arguments: elements)
  func storageRoundsOnce(_ elements: Storage) throws {
    for number in stride(from: 0, to: 100, by: 3) {
      try StorageTests.check(Self.specimen(), TestCase(number), elements)
    }
  }

  /// A value that nobody's weight hides: rows that do not see it keep every bit, others are NaN.
  @Test(arguments: LeakTests.Poison.allCases)
  func poisonStaysWhereItIsSeen(_ poison: LeakTests.Poison) throws {
    for (number, problem) in try LeakTests.problems().enumerated() {
      let clean = TestInputs(problem, seed: number)
      for text in ["", "16, 8, "] {
        let specimen = try Self.specimen(text)
        let expected = try specimen.run(problem, clean, threads: 2)
        let last = problem.shape.keyLength - 1
        for keys in [[0], [1], [last], [last, last - 1, last - 40], [62], [63]] {
          for role in [\TestInputs.key, \.value] {
            let poisoned = clean.copy()
            poisoned[keyPath: role].forEachRow { batch, head, row in
              guard keys.contains(row) else { return }
              poisoned[keyPath: role][batch, head, row].update(repeating: poison.value)
            }
            let outputs = try specimen.run(problem, poisoned, threads: 2)
            let (changed, hidden) = Self.leaks(
              specimen, problem, keys, isNaN: poison == .nan, outputs, expected)
            #expect(changed == 0, "\(changed) rows changed: \(problem) keys \(keys)")
            #expect(hidden == 0, "\(hidden) rows hide a NaN: \(problem) keys \(keys)")
          }
        }
      }
    }
  }

  private static func leaks(
    _ specimen: Specimen, _ problem: AttentionProblem, _ keys: [Int], isNaN: Bool,
    _ outputs: TestOutputs, _ clean: TestOutputs
  ) -> (changed: Int, hidden: Int) {
    var (changed, hidden) = (0, 0)
    outputs.output.forEachRow { batch, head, row in
      let pattern = specimen.strategy.pattern(for: problem.geometry(batch: batch))
      let position = row + pattern.geometry.offset
      let output = outputs.output[batch, head, row]
      if keys.contains(where: { pattern.includes(position: position, key: $0) }) {
        if isNaN, !output.allSatisfy(\.isNaN) { hidden += 1 }
        return
      }
      let same =
        output.elementsEqual(clean.output[batch, head, row]) { $0.bitPattern == $1.bitPattern }
        && outputs.logSumExp?[batch, head, row, 0].bitPattern
          == clean.logSumExp?[batch, head, row, 0].bitPattern
      if !same { changed += 1 }
    }
    return (changed, hidden)
  }

  @Test func rowsThatSeeNothingAreZero() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 100, keyLength: 60, headDim: 5),
      visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 1)
    let outputs = try Self.specimen().run(problem, inputs)
    let lse = try #require(outputs.logSumExp)
    for row in 0..<100 {
      #expect(outputs.output[0, 0, row].allSatisfy { ($0 == 0) == (row < 40) }, "row \(row)")
      #expect((lse[0, 0, row, 0] == -.infinity) == (row < 40), "row \(row)")
    }
  }

  /// Threads, panels in a task and what stands beside a row change no bit.
  @Test func bitsDependOnNothingElse() throws {
    for causal in [false, true] {
      let problem = try AttentionProblem(
        AttentionShape(
          batch: 2, heads: 6, kvHeads: 2, queryLength: 211, keyLength: 300, headDim: 33,
          valueDim: 17), visibility: Visibility(causal: causal))
      let inputs = TestInputs(problem, fill: .wideLogits, seed: 2)
      let once = try Self.specimen().run(problem, inputs)
      for threads in [1, 2, 5] {
        for _ in 0..<2 {
          let again = try Self.specimen().run(problem, inputs, threads: threads)
          #expect(again.bits == once.bits, "\(threads) threads, causal \(causal)")
        }
      }
      let blocks = try AttentionProblem(problem.shape, visibility: Visibility(causal: causal))
      let small = try Self.specimen("16, 128, ").run(blocks, inputs)
      let large = try Self.specimen("500, 128, ").run(blocks, inputs, threads: 2)
      #expect(small.bits == large.bits, "causal \(causal)")
    }
  }

  /// Denormal numbers count as zeros, and what passes the largest bf16 becomes an infinity.
  @Test func theEndsOfTheRange() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 3, headDim: 2, valueDim: 3),
      visibility: Visibility(causal: false))
    let inputs = TestInputs(problem, fill: .equalKeys, seed: 1)
    for row in 0..<3 {
      inputs.value[0, 0, row, 0] = 0x1p-130
      inputs.value[0, 0, row, 1] = .greatestFiniteMagnitude
      inputs.value[0, 0, row, 2] = 1
    }
    let outputs = try Self.specimen().run(problem, inputs)
    for row in 0..<3 { #expect(Array(outputs.output[0, 0, row]) == [0, .infinity, 1]) }
  }

  @Test func aMixIsAsCoarseAsItsCoarsestPart() throws {
    let strategies = [try Specimen.registry.strategy("flash"), try Self.specimen().strategy]
    #expect(strategies.map(\.arithmetic) == [.float32, .bfloat16])
    #expect(try MixedAttention(strategies).arithmetic == .bfloat16)
    #expect(try MixedAttention([strategies[0]]).arithmetic == .float32)
  }

  #if canImport(Glibc)
    @Test func runningAPlanAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        let specimen = try BFloat16ArithmeticTests.specimen()
        for (number, elements) in BFloat16ArithmeticTests.elements.enumerated() {
          let count = try AllocationCount.ofRun(
            specimen.strategy, TestCase(7 * number + 3), storing: elements, seed: number)
          #expect(count == 0, "\(count) allocations, \(elements)")
        }
      }
    }
  #endif
}
