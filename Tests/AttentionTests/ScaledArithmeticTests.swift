import Attention
import AttentionTestSupport
import MachineTopology
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// Arithmetics whose rows have scales, those that the processor has.
let scaledArithmetics = Arithmetic.allCases.filter {
  $0.hasRowScales && KernelTable.active.runs($0)
}

/// Products of fp16 numbers and of 8-bit integers, whose rows have scales: the tasks of every flash, with other
/// operands.
@Suite(.enabled(if: !scaledArithmetics.isEmpty, "the processor has no such products"))
struct ScaledArithmeticTests {
  static let arithmetics = scaledArithmetics
  static let lengths = [1, 2, 48, 49, 130]
  static let dimensions = [1, 7, 32, 33, 64, 80]
  static let elements: [Storage] = [
    Storage(), Storage(.float16), Storage(.bfloat16), Storage(.float32, keyValue: .int8PerToken),
    Storage(.bfloat16, keyValue: .int8PerChannel),
  ]

  static func specimen(
    _ arithmetic: Arithmetic, _ strategy: String = "flash(", _ end: String = ")"
  ) throws -> Specimen {
    let text = "\(strategy)arithmetic: \(arithmetic.rawValue)\(end)"
    return Specimen(text: text, strategy: try Specimen.registry.strategy(text))
  }

  private func check(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: TestInputs, threads: Int = 2,
    _ comment: String
  ) throws {
    let outputs = try specimen.run(problem, inputs, threads: threads)
    ErrorGate.checkScaled(
      specimen.strategy, problem, inputs, outputs, "\(specimen.text), \(comment)")
  }

  /// Every length with every dimension, causal or not, keys more or fewer than queries, dV != d.
  @Test(arguments: arithmetics, lengths)
  func agreesWithFP64AroundTileEdges(_ arithmetic: Arithmetic, _ n: Int) throws {
    let specimen = try Self.specimen(arithmetic)
    for (number, headDim) in Self.dimensions.enumerated() {
      for (step, causal) in [(number % 2, number % 3 == 0)] {
        let valueDim = Self.dimensions[(number + step) % Self.dimensions.count]
        for keyLength in Set([n, Self.lengths[(number + n) % Self.lengths.count]]) {
          let problem = try AttentionProblem(
            AttentionShape(
              heads: 2, kvHeads: number % 2 + 1, queryLength: n, keyLength: keyLength,
              headDim: headDim, valueDim: valueDim), visibility: Visibility(causal: causal))
          try check(
            specimen, problem, TestInputs(problem, seed: number + n),
            "n \(n) on \(keyLength), d \(headDim), dV \(valueDim), causal \(causal)")
        }
      }
    }
  }

  /// Shapes, offsets, key lengths, layouts and fills in step.
  @Test(arguments: arithmetics, 0..<10)
  func agreesWithFP64(_ arithmetic: Arithmetic, _ number: Int) throws {
    let test = try TestCase(number)
    let specimen = try Self.specimen(arithmetic)
    let inputs = test.inputs()
    let outputs = try specimen.run(test, inputs)
    ErrorGate.checkScaled(specimen.strategy, test.problem, inputs, outputs, "\(test)")
  }

  /// Windows, strides and blocks by the same kernels.
  @Test(arguments: arithmetics)
  func agreesWithFP64UnderPatterns(_ arithmetic: Arithmetic) throws {
    for strategy in [
      "window(7, ", "window(64, global: 3, sinks: 5, ", "strided(5, ", "fixed(8, 3, ",
      "dilated(9, 2, ", "chunked(48, ",
    ] {
      let specimen = try Self.specimen(arithmetic, strategy)
      for causal in [true, false] {
        let problem = try AttentionProblem(
          AttentionShape(
            heads: 2, kvHeads: 1, queryLength: 131, headDim: 20, valueDim: 12),
          visibility: Visibility(causal: causal))
        try check(specimen, problem, TestInputs(problem, seed: 5), "causal \(causal)")
      }
    }
  }

  @Test(arguments: arithmetics, TestFill.allCases)
  func agreesWithFP64UnderEveryOption(_ arithmetic: Arithmetic, _ fill: TestFill) throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 129, keyLength: 97, headDim: 33, valueDim: 7)
    let problems: [(String, Scoring, Visibility)] = [
      ("softcap", Scoring(softcap: 5), Visibility(causal: true)),
      ("sinks", Scoring(sinkLogits: [0, -3, 2, 30]), Visibility(causal: true)),
      ("key lengths", Scoring(), Visibility(causal: false, keyLengths: [0, 51])),
      ("prefix", Scoring(), Visibility(causal: true, prefixLengths: [13, 60])),
      ("no scale", Scoring(scale: 0), Visibility(causal: true)),
      ("negative scale", Scoring(scale: -0.2), Visibility(causal: true)),
      ("empty rows", Scoring(), Visibility(causal: true, offset: .perBatch([-77, -200]))),
      ("slopes", Scoring(), Visibility(causal: true, alibiSlopes: [0.5, 0.1, 0, -0.2])),
      (
        "all", Scoring(scale: -0.1, softcap: 3, sinkLogits: [1, 2, 3, -1]),
        Visibility(causal: true, offset: .fixed(-5), keyLengths: [97, 40])
      ),
    ]
    let specimen = try Self.specimen(arithmetic)
    for (name, scoring, visibility) in problems {
      let problem = try AttentionProblem(shape, scoring: scoring, visibility: visibility)
      try check(
        specimen, problem, TestInputs(problem, fill: fill, seed: 3), "\(name), \(fill.rawValue)")
    }
  }

  /// Products of stored elements are those of what they stand for.
  @Test(arguments: arithmetics, elements)
  func storageRoundsOnce(_ arithmetic: Arithmetic, _ elements: Storage) throws {
    for number in stride(from: 0, to: 60, by: 15) {
      try StorageTests.check(Self.specimen(arithmetic), TestCase(number), elements)
    }
  }

  /// A row that is not finite makes NaN of what sees it, and of nothing else.
  @Test(arguments: arithmetics)
  func whatIsNotFiniteStaysWhereItIsSeen(_ arithmetic: Arithmetic) throws {
    let specimen = try Self.specimen(arithmetic)
    for poison in [Float.nan, .infinity, -.infinity] {
      for role in [\TestInputs.key, \.value] {
        for key in [0, 1, 46, 63, 64, 99] {
          let problem = try AttentionProblem(
            AttentionShape(heads: 2, kvHeads: 1, queryLength: 100, headDim: 9, valueDim: 5),
            visibility: Visibility(causal: true))
          let inputs = TestInputs(problem, seed: key)
          inputs[keyPath: role][0, 0, key, 3] = poison
          let outputs = try specimen.run(problem, inputs, threads: 2)
          for head in 0..<2 {
            for row in 0..<100 {
              let isNaN = outputs.output[0, head, row].map(\.isNaN)
              #expect(
                isNaN.allSatisfy { $0 == (row >= key) },
                "\(specimen.text): key \(key), row \(row), head \(head)")
            }
          }
        }
      }
    }
  }

  /// Rows that are far larger than others leave those that do not see them as near to the definition as they
  /// were: keys of the future, hidden keys, and other queries.
  @Test(arguments: arithmetics, [Float(30), 1e3, 1e6, 1e15, 1e30])
  func largeRowsDoNotSpoilOthers(_ arithmetic: Arithmetic, _ size: Float) throws {
    let specimen = try Self.specimen(arithmetic)
    let shape = try AttentionShape(heads: 2, kvHeads: 1, queryLength: 200, headDim: 64)
    let causal = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let open = try AttentionProblem(shape)
    let hidden = try open.with(
      mask: BroadcastTensor(try open.maskShape(3)) { elements in
        for index in elements.indices { elements[index] = index % 200 < 190 ? 1 : 0 }
      })
    let clean = TestInputs(causal, seed: 5)
    for (name, problem, role, rows) in [
      ("keys of the future", causal, \TestInputs.key, 190..<200),
      ("hidden keys", hidden, \.key, 190..<200), ("queries", causal, \.query, 190..<200),
      ("the first query", causal, \.query, 0..<1),
      ("half of the queries", causal, \.query, 100..<200),
    ] {
      let inputs = clean.copy()
      inputs[keyPath: role].forEachRow { batch, head, row in
        if rows.contains(row) {
          for column in 0..<64 { inputs[keyPath: role][batch, head, row, column] = size }
        }
      }
      let outputs = try specimen.run(problem, inputs, threads: 2)
      let truth = try oracleRows(
        Specimen.registry.strategy("flash").oracle(for: problem), inputs)
      var (error, norm, index) = (0.0, 0.0, 0)
      outputs.output.forEachRow { batch, head, row in
        let right = truth[index].output
        index += 1
        if problem == causal, rows.contains(row) { return }
        for (x, y) in zip(outputs.output[batch, head, row], right) {
          error += (Double(x) - y) * (Double(x) - y)
          norm += y * y
        }
      }
      let relative = (error / norm).squareRoot()
      let limit = arithmetic == .float16 ? 3e-3 : 4e-2
      #expect(relative < limit, "\(specimen.text), \(name) of \(size): \(relative)")
    }
  }

  /// Rows of zeros, of tiny and of huge numbers, and values of very different sizes.
  @Test(arguments: arithmetics)
  func rowsOfAnySize(_ arithmetic: Arithmetic) throws {
    let specimen = try Self.specimen(arithmetic)
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 60, keyLength: 140, headDim: 16, valueDim: 6),
      visibility: Visibility(causal: false))
    for (size, other) in [(Float(0), Float(1)), (1e-18, 1e18), (1e15, 1e-15), (1e30, 1)] {
      let inputs = TestInputs(problem, seed: 4)
      for row in 0..<140 {
        for column in 0..<16 {
          inputs.key[0, 0, row, column] *= size
          if row < 60 { inputs.query[0, 0, row, column] *= size == 1e30 ? 1e-30 : other }
        }
        for column in 0..<6 { inputs.value[0, 0, row, column] *= row % 3 == 0 ? size : other }
      }
      try check(specimen, problem, inputs, "sizes \(size) and \(other)")
    }
  }

  @Test(arguments: arithmetics)
  func rowsThatSeeNothingAreZero(_ arithmetic: Arithmetic) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 100, keyLength: 60, headDim: 5),
      visibility: Visibility(causal: true))
    let outputs = try Self.specimen(arithmetic).run(problem, TestInputs(problem, seed: 1))
    let lse = try #require(outputs.logSumExp)
    for row in 0..<100 {
      #expect(outputs.output[0, 0, row].allSatisfy { ($0 == 0) == (row < 40) }, "row \(row)")
      #expect((lse[0, 0, row, 0] == -.infinity) == (row < 40), "row \(row)")
    }
  }

  /// Threads and panels in a task change no bit.
  @Test(arguments: arithmetics)
  func bitsDependOnNothingElse(_ arithmetic: Arithmetic) throws {
    for causal in [false, true] {
      let problem = try AttentionProblem(
        AttentionShape(
          batch: 2, heads: 6, kvHeads: 2, queryLength: 211, keyLength: 300, headDim: 33,
          valueDim: 17), visibility: Visibility(causal: causal))
      let inputs = TestInputs(problem, fill: .wideLogits, seed: 2)
      let once = try Self.specimen(arithmetic).run(problem, inputs)
      for threads in [1, 2, 5] {
        let again = try Self.specimen(arithmetic).run(problem, inputs, threads: threads)
        #expect(again.bits == once.bits, "\(threads) threads, causal \(causal)")
      }
      let small = try Self.specimen(arithmetic, "flash(16, 128, ").run(problem, inputs)
      let large = try Self.specimen(arithmetic, "flash(500, 128, ").run(problem, inputs, threads: 2)
      #expect(small.bits == large.bits, "causal \(causal)")
    }
  }

  @Test func aMixIsAsCoarseAsItsCoarsestPart() throws {
    for arithmetic in Self.arithmetics {
      let strategies = [
        try Specimen.registry.strategy("flash"), try Self.specimen(arithmetic).strategy,
      ]
      #expect(try MixedAttention(strategies).arithmetic == arithmetic)
    }
  }

  #if canImport(Glibc)
    @Test func runningAPlanAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        for arithmetic in ScaledArithmeticTests.arithmetics {
          let specimen = try ScaledArithmeticTests.specimen(arithmetic)
          for (number, elements) in ScaledArithmeticTests.elements.enumerated() {
            let count = try AllocationCount.ofRun(
              specimen.strategy, TestCase(7 * number + 3), storing: elements, seed: number)
            #expect(count == 0, "\(count) allocations, \(elements)")
          }
        }
      }
    }
  #endif
}
