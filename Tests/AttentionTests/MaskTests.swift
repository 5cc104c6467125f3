import Attention
import AttentionTestSupport
import RealModule
import Testing

/// Masks, biases, slopes and prefixes, alone and together, against the fp64 oracle.
@Suite struct MaskTests {
  /// A mask of a kind and axes that the number decides, on a problem that it decides too.
  static func masked(_ number: Int) throws -> (problem: AttentionProblem, test: TestCase) {
    let test = try TestCase(number)
    let problem = test.problem
    let kinds = TestMask.allCases
    let shape = try problem.maskShape(number % 8, short: number % 5 == 3 ? 3 : 0)
    let other = try problem.maskShape(number / 8 % 8, short: number % 7 == 3 ? 20 : 0)
    let kind = kinds[number % kinds.count]
    let size = [16, 8, 48, 64, 5][number % 5]
    let slopes = (0..<problem.shape.heads).map { Float.exp2(-Float($0 + 1)) }
    let prefix = problem.visibility.causal && number % 9 < 3 ? problem.shape.keyLength / 2 : 0
    return (
      try problem.with(
        prefixLengths: prefix > 0 ? .init(repeating: prefix, count: problem.shape.batch) : nil,
        mask: number % 4 != 1 ? kind.mask(shape, size: size, seed: number) : nil,
        bias: number % 4 == 1 || number % 12 == 2
          ? kinds[(number + 1) % kinds.count].bias(
            other, size: size, deviation: Float(number % 3), seed: number) : nil,
        alibiSlopes: number % 11 == 4 ? slopes : nil, softcap: number % 6 == 5 ? 15 : nil,
        sinkLogits: number % 10 == 7 ? slopes : nil), test
    )
  }

  /// Every kind at lengths around tiles of keys, of the map and of panels.
  @Test(arguments: Specimen.softmaxInAnyArithmetic, TestMask.allCases)
  func agreesAtTileEdges(_ specimen: Specimen, _ kind: TestMask) throws {
    for (number, length) in (TileEdges.lengths + [1023, 1025]).enumerated() {
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 2, kvHeads: 1, queryLength: min(length, 130), keyLength: length, headDim: 4,
          valueDim: 3), visibility: Visibility(causal: number % 2 == 0))
      let masked = try problem.with(
        mask: kind.mask(problem.maskShape(number % 4), size: 32, seed: number))
      let inputs = TestInputs(problem, seed: number)
      let outputs = try specimen.run(masked, inputs, threads: 2)
      ErrorGate.check(specimen, masked, inputs, outputs, "\(kind), length \(length)")
    }
  }

  /// A mask that hides nothing changes no bit, and neither does a bias of zeros.
  @Test(arguments: Specimen.softmaxInAnyArithmetic, [false, true])
  func whatHidesNothingChangesNothing(_ specimen: Specimen, _ causal: Bool) throws {
    let problem = try AttentionProblem(
      AttentionShape(batch: 2, heads: 4, kvHeads: 2, queryLength: 150, keyLength: 170, headDim: 9),
      visibility: Visibility(causal: causal))
    let inputs = TestInputs(problem, seed: 4)
    let plain = try specimen.run(problem, inputs)
    let shape = try problem.maskShape(3)
    let mask = BroadcastTensor<UInt8>(shape) { $0.update(repeating: 7) }
    let bias = BroadcastTensor<Float>(shape) { $0.update(repeating: 0) }
    let masked = try specimen.run(problem.with(mask: mask, bias: bias), inputs)
    #expect(isSame(masked, plain))
  }

  private func isSame(_ a: TestOutputs, _ b: TestOutputs) -> Bool {
    zip(a.bits, b.bits).allSatisfy { abs(Float(bitPattern: $0) - Float(bitPattern: $1)) < 1e-5 }
  }

  /// The boolean mask and the additive mask of -inf are the same mask.
  @Test(arguments: Specimen.softmaxInAnyArithmetic, TestMask.allCases)
  func booleanAndAdditiveMasksAgree(_ specimen: Specimen, _ kind: TestMask) throws {
    let problem = try AttentionProblem(
      AttentionShape(batch: 2, heads: 4, kvHeads: 2, queryLength: 100, keyLength: 230, headDim: 9))
    let shape = try problem.maskShape(2)
    let inputs = TestInputs(problem, seed: 5)
    let boolean = try specimen.run(problem.with(mask: kind.mask(shape, seed: 1)), inputs)
    let additive = try specimen.run(
      problem.with(bias: kind.bias(shape, deviation: 0, seed: 1)), inputs, threads: 2)
    #expect(boolean.bits == additive.bits)
  }

  /// A window and chunks of the problem are the mask that says the same, whatever the strategy.
  @Test(arguments: Specimen.softmaxInAnyArithmetic, [false, true])
  func windowsAndChunksAreMasks(_ specimen: Specimen, _ causal: Bool) throws {
    let shape = try AttentionShape(
      heads: 4, kvHeads: 2, queryLength: 100, keyLength: 230, headDim: 9)
    let limits: [(left: Int?, right: Int?, chunk: Int?)] = [
      (20, nil, nil), (nil, 3, nil), (64, 16, nil), (nil, nil, 48), (30, nil, 48),
    ]
    for (number, (left, right, chunk)) in limits.enumerated() {
      let plain = try AttentionProblem(shape, visibility: Visibility(causal: causal))
      let limited = try plain.with { _, _, visibility, _ in
        (visibility.windowLeft, visibility.windowRight) = (left, right)
        visibility.chunk = chunk
      }
      let mask = BroadcastTensor<UInt8>(try plain.maskShape(3)) { bytes in
        bytes.initialize(repeating: 0)
        for row in 0..<shape.queryLength {
          let position = row + shape.keyLength - shape.queryLength
          for key in 0..<shape.keyLength
          where position - key <= left ?? .max && key - position <= right ?? .max
            && chunk.map({ key / $0 == position / $0 }) ?? true
          {
            bytes[row * shape.keyLength + key] = 1
          }
        }
      }
      let inputs = TestInputs(plain, seed: number)
      let outputs = try specimen.run(limited, inputs, threads: 2)
      let masked = try specimen.run(plain.with(mask: mask), inputs)
      // Which keys a tile holds decides which of two roundings of few bits a weight gets.
      if specimen.strategy.arithmetic == .float32 { #expect(isSame(outputs, masked)) }
      ErrorGate.check(specimen, limited, inputs, masked, "mask of \(limits[number])")
      ErrorGate.check(specimen, limited, inputs, outputs, "\(limits[number])")
      let pairs = try specimen.strategy.work(for: limited, threads: 1).pairs
      #expect(pairs == (try specimen.strategy.work(for: plain.with(mask: mask), threads: 1).pairs))
    }
  }

  @Test(arguments: [
    ("windowLeft", Visibility(windowLeft: -1), "must be in 0..."),
    ("windowRight", Visibility(windowRight: 1 << 40), "must be in 0..."),
    ("chunk", Visibility(chunk: 0), "must be in 1..."),
  ])
  func limitsOutOfRangeAreNamed(
    _ argument: String, _ visibility: Visibility, _ rule: String
  ) throws {
    let shape = try AttentionShape(heads: 1, queryLength: 4, headDim: 2)
    let error = #expect(throws: AttentionError.self) {
      try AttentionProblem(shape, visibility: visibility)
    }
    #expect(error?.argument == argument && error?.advice.hasPrefix(rule) == true)
  }

  /// Rows without a visible key: 0 and -inf; nothing is left of what lies at the keys.
  @Test(arguments: Specimen.softmaxInAnyArithmetic)
  func hiddenRowsAreZero(_ specimen: Specimen) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 90, keyLength: 60, headDim: 5, valueDim: 3),
      scoring: Scoring(sinkLogits: [0, 2]))
    let inputs = TestInputs(problem, seed: 6)
    inputs.key.fill { _, _, _, _ in .nan }
    inputs.value.fill { _, _, _, _ in .infinity }
    let hidden = BroadcastTensor<UInt8>(try problem.maskShape(7)) { $0.update(repeating: 0) }
    let outputs = try specimen.run(problem.with(mask: hidden, softcap: 3), inputs)
    let lse = try #require(outputs.logSumExp)
    outputs.output.forEachRow { batch, head, row in
      #expect(outputs.output[batch, head, row].allSatisfy { $0 == 0 })
      #expect(lse[batch, head, row, 0] == -.infinity)
    }
    let work = try specimen.strategy.work(for: problem.with(mask: hidden), threads: 1)
    #expect(work.pairs == 0)
  }

  /// NaN and infinity at a key change no bit of the rows from which mask or bias hides it, with and
  /// without a softcap; the others say NaN. Where rows have scales, a row that is not finite has no part in the
  /// mean that others are taken less, and roundings show it.
  @Test(arguments: Specimen.softmaxInAnyArithmetic, [nil, Float(4)])
  func poisonStaysWhereItIsSeen(_ specimen: Specimen, _ softcap: Float?) throws {
    for (number, kind) in TestMask.allCases.enumerated() {
      let plain = try AttentionProblem(
        AttentionShape(
          batch: 2, heads: 4, kvHeads: 2, queryLength: 110, keyLength: 140, headDim: 7),
        visibility: Visibility(causal: number % 2 == 0))
      let shape = try plain.maskShape(number % 4)
      let mask = kind.mask(shape, seed: number)
      let problem =
        number % 3 == 0
        ? try plain.with(
          bias: kind.bias(shape, deviation: 1, seed: number), softcap: softcap)
        : try plain.with(mask: mask, softcap: softcap)
      let inputs = TestInputs(problem, seed: number)
      let clean = try specimen.run(problem, inputs, threads: 2)
      for (role, poison) in [(\TestInputs.key, Float.nan), (\.value, .infinity), (\.value, .nan)] {
        let poisoned = inputs.copy()
        let columns = poisoned[keyPath: role].shape.columns
        let keys = [0, 17, 70, 139]
        for batch in 0..<2 {
          for head in 0..<2 {
            for key in keys {
              for column in 0..<columns {
                poisoned[keyPath: role][batch, head, key, column] = poison
              }
            }
          }
        }
        let outputs = try specimen.run(problem, poisoned, threads: 2)
        var (changed, silent) = (0, 0)
        outputs.output.forEachRow { batch, head, row in
          let pattern = specimen.strategy.pattern(for: problem.geometry(batch: batch))
          let sees = keys.contains {
            pattern.includes(position: row + pattern.geometry.offset, key: $0)
              && mask.row(batch, head, row)[$0] != 0
          }
          let output = outputs.output[batch, head, row]
          if sees {
            silent += output.allSatisfy(\.isFinite) ? 1 : 0
          } else {
            let isCoarse = specimen.strategy.arithmetic.hasRowScales
            let isSame = output.elementsEqual(clean.output[batch, head, row]) {
              isCoarse ? abs($0 - $1) < 0.1 : $0.bitPattern == $1.bitPattern
            }
            if !isSame { changed += 1 }
          }
        }
        #expect(changed == 0 && silent == 0, "\(kind), \(poison): \(changed), \(silent)")
      }
    }
  }

  /// A mask of -FLT_MAX hides keys beside others; a row that has nothing else weighs all alike.
  @Test(arguments: Specimen.exact)
  func theLowestFloatIsNotMinusInfinity(_ specimen: Specimen) throws {
    let lowest = -Float.greatestFiniteMagnitude
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 60, keyLength: 100, headDim: 8, valueDim: 4))
    let bias = BroadcastTensor<Float>(try problem.maskShape(0)) { elements in
      for index in elements.indices {
        elements[index] = index / 100 % 2 == 0 || index % 100 < 50 ? lowest : 0
      }
    }
    let inputs = TestInputs(problem, seed: 2)
    let outputs = try specimen.run(problem.with(bias: bias), inputs)
    let lse = try #require(outputs.logSumExp)
    for row in 0..<60 {
      if row % 2 == 0 {
        #expect(lse[0, 0, row, 0] == lowest)
        for column in 0..<4 {
          let mean = (0..<100).reduce(Float(0)) { $0 + inputs.value[0, 0, $1, column] } / 100
          #expect(abs(outputs.output[0, 0, row, column] - mean) < 1e-6)
        }
      } else {
        #expect(abs(lse[0, 0, row, 0]) < 20)
      }
    }
    let cut = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 60, keyLength: 100, headDim: 8, valueDim: 4))
    let half = BroadcastTensor<UInt8>(try problem.maskShape(7)) { elements in
      for index in elements.indices { elements[index] = index < 50 ? 0 : 1 }
    }
    let hidden = try specimen.run(cut.with(mask: half), inputs)
    for row in stride(from: 1, to: 60, by: 2) {
      for column in 0..<4 {
        #expect(
          abs(hidden.output[0, 0, row, column] - outputs.output[0, 0, row, column]) < 1e-6)
      }
    }
  }

  /// A NaN in the bias reaches the rows that see its key, unless the mask hides it.
  @Test(arguments: Specimen.exact)
  func aVisibleNaNBiasIsNaN(_ specimen: Specimen) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 40, keyLength: 50, headDim: 8))
    let bias = BroadcastTensor<Float>(try problem.maskShape(0)) { elements in
      for index in elements.indices { elements[index] = index == 30 * 50 + 20 ? .nan : 0.5 }
    }
    let hides = BroadcastTensor<UInt8>(try problem.maskShape(7)) { elements in
      for index in elements.indices { elements[index] = index == 20 ? 0 : 1 }
    }
    let inputs = TestInputs(problem, seed: 2)
    let outputs = try specimen.run(problem.with(bias: bias), inputs)
    let hidden = try specimen.run(problem.with(mask: hides, bias: bias), inputs)
    for row in 0..<40 {
      #expect(outputs.output[0, 0, row].allSatisfy { $0.isNaN == (row == 30) })
      #expect(hidden.output[0, 0, row].allSatisfy { $0.isFinite })
    }
  }

  @Test(arguments: Specimen.softmaxInAnyArithmetic)
  func threadCountDoesNotChangeABit(_ specimen: Specimen) throws {
    for number in 600..<624 {
      let (problem, test) = try MaskTests.masked(number)
      let inputs = test.inputs()
      let single = try specimen.run(problem, inputs)
      for threads in [2, 5] {
        let several = try specimen.run(problem, inputs, threads: threads)
        #expect(single.bits == several.bits, "\(threads) threads: \(test)")
      }
    }
  }

  /// The pairs of a work estimate are those that pattern, mask and bias leave, one by one.
  @Test(arguments: Specimen.softmaxInAnyArithmetic)
  func pairsAreExact(_ specimen: Specimen) throws {
    for number in 600..<640 {
      let (problem, test) = try MaskTests.masked(number)
      let shape = problem.shape
      var pairs = 0
      for batch in 0..<shape.batch {
        let pattern = specimen.strategy.pattern(for: problem.geometry(batch: batch))
        for head in 0..<shape.heads {
          for row in 0..<shape.queryLength {
            for key in 0..<shape.keyLength
            where pattern.includes(position: row + pattern.geometry.offset, key: key) {
              if let mask = problem.visibility.mask,
                key >= mask.shape.columns || mask.row(batch, head, row)[key] == 0
              {
                continue
              }
              if let bias = problem.visibility.bias,
                key >= bias.shape.columns || bias.row(batch, head, row)[key] == -.infinity
              {
                continue
              }
              pairs += 1
            }
          }
        }
      }
      let work = try specimen.strategy.work(for: problem, threads: 3)
      #expect(work.pairs == pairs, "\(test)")
      let plan = try specimen.strategy.plan(for: problem, on: Teams.of(3))
      #expect(work.workspaceBytes == plan.workspaceBytes, "\(test)")
    }
  }

  /// Each head of a mix runs under its own part of the mask.
  @Test func mixesPassMasksOn() throws {
    let problem = try AttentionProblem(
      AttentionShape(batch: 2, heads: 6, kvHeads: 3, queryLength: 90, keyLength: 120, headDim: 8),
      visibility: Visibility(causal: true))
    let masked = try problem.with(
      mask: TestMask.random.mask(problem.maskShape(0), seed: 3),
      bias: TestMask.dense.bias(problem.maskShape(5), deviation: 1, seed: 4),
      alibiSlopes: [0.5, 0.25, 0.125, 1, 0, 2])
    let texts = ["flash", "window(30)", "flash", "full", "strided(8)", "fixed(8, 2)"]
    let mix = try MixedAttention(texts.map { try Specimen.registry.strategy($0) })
    let inputs = TestInputs(masked, seed: 8)
    let outputs = TestOutputs(masked)
    try mix.plan(for: masked, on: Teams.of(2)).run(outputs.operands(inputs))
    let truth = oracleRows(mix.oracle(for: masked), inputs)
    let error = outputs.deviation(from: truth)
    #expect(error.maximum < 5e-6 && error.logSumExp < 1e-5, "\(error)")
  }

  @Test func linearAttentionRefusesMasks() throws {
    let linear = try StrategyRegistry.standard.strategy("linear")
    let problem = try AttentionProblem(AttentionShape(heads: 1, queryLength: 8, headDim: 4))
    let mask = TestMask.dense.mask(try problem.maskShape(7), seed: 0)
    #expect(throws: AttentionError.self) {
      try linear.plan(for: problem.with(mask: mask), on: Teams.of(1))
    }
  }
}
