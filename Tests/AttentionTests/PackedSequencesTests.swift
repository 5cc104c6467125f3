import Attention
import AttentionTestSupport
import Testing

/// Sequences packed behind each other give what each gives alone.
@Suite struct PackedSequencesTests {
  /// Query and key lengths: none, one, around tiles, panels and blocks, and very unequal.
  static let lengths: [(queries: Int, keys: Int)] = {
    let lanes = KernelTable.active.panelLanes
    return [
      (0, 5), (1, 1), (lanes - 1, lanes - 1), (lanes, lanes), (lanes + 1, 2 * lanes + 1), (3, 0),
      (0, 0), (1, 97), (130, 200), (257, 257), (200, 130), (7, 8),
    ]
  }()

  /// One sequence's own problem, inputs and place.
  private struct Sequence {
    let index: Int
    let problem: AttentionProblem
    let inputs: TestInputs

    /// Whether the sequence alone is computed as it is in the batch: few query rows alone have a plan
    /// of their own, which takes sums in another order. Only the plans that say so take key lengths.
    func sharesPlan(with batch: AttentionProblem, _ specimen: Specimen) throws -> Bool {
      let plans = try [problem, batch].map { try specimen.strategy.plan(for: $0, on: Teams.of(1)) }
      return plans[0].takesKeyLengths == plans[1].takesKeyLengths
    }
  }

  /// Packed tensors and the sequences in them.
  private struct Batch {
    let packed: PackedSequences
    let problem: AttentionProblem
    let inputs: TestInputs
    let sequences: [Sequence]

    init(
      heads: Int = 4, kvHeads: Int = 2, headDim: Int = 20, valueDim: Int = 17, causal: Bool,
      offset: QueryOffset = .bottomRight, layout: TestLayout = .bhnd, spare: Int = 3
    ) throws {
      let lengths = PackedSequencesTests.lengths
      packed = try PackedSequences(
        queryOffsets: lengths.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.queries) },
        keyOffsets: lengths.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.keys) })
      problem = try packed.problem(
        heads: heads, kvHeads: kvHeads, headDim: headDim, valueDim: valueDim, causal: causal,
        offset: offset)
      let queries = (packed.queryOffsets.last ?? 0) + spare
      let keys = (packed.keyOffsets.last ?? 0) + spare
      // The spare rows stay NaN.
      let inputs = TestInputs(
        query: TestTensor(try TensorShape(1, heads, queries, headDim), layout: layout),
        key: TestTensor(try TensorShape(1, kvHeads, keys, headDim), layout: layout),
        value: TestTensor(try TensorShape(1, kvHeads, keys, valueDim), layout: layout))
      var sequences: [Sequence] = []
      for (index, length) in lengths.enumerated() where length.queries > 0 {
        let problem = try AttentionProblem(
          AttentionShape(
            heads: heads, kvHeads: kvHeads, queryLength: length.queries,
            keyLength: max(length.keys, 1), headDim: headDim, valueDim: valueDim),
          visibility: Visibility(causal: causal, offset: offset, keyLengths: [length.keys]))
        let own = TestInputs(problem, seed: index)
        let (queryStart, keyStart) = (packed.queryOffsets[index], packed.keyOffsets[index])
        own.query.forEachRow { _, head, row in
          for c in 0..<headDim {
            inputs.query[0, head, queryStart + row, c] = own.query[0, head, row, c]
          }
        }
        own.key.forEachRow { _, head, row in
          if row >= length.keys { return }
          for c in 0..<headDim { inputs.key[0, head, keyStart + row, c] = own.key[0, head, row, c] }
          for c in 0..<valueDim {
            inputs.value[0, head, keyStart + row, c] = own.value[0, head, row, c]
          }
        }
        sequences.append(Sequence(index: index, problem: problem, inputs: own))
      }
      self.inputs = inputs
      self.sequences = sequences
    }

    func outputs(layout: TestLayout = .bhnd) throws -> (output: TestTensor, lse: TestTensor) {
      let shape = inputs.query.shape
      return (
        TestTensor(
          try TensorShape(1, shape.heads, shape.rows, inputs.value.shape.columns), layout: layout),
        TestTensor(try TensorShape(1, shape.heads, shape.rows, 1), layout: layout)
      )
    }

    func operands(_ outputs: (output: TestTensor, lse: TestTensor)) throws -> AttentionOperands {
      try packed.operands(
        query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
        output: outputs.output.mutableView, logSumExp: outputs.lse.mutableView)
    }

    /// A sequence's rows of the packed outputs, as if it had been run alone.
    func outputs(
      of sequence: Sequence, _ outputs: (output: TestTensor, lse: TestTensor)
    ) -> TestOutputs {
      let own = TestOutputs(sequence.problem)
      let start = packed.queryOffsets[sequence.index]
      own.output.fill { outputs.output[0, $1, start + $2, $3] }
      own.logSumExp?.fill { outputs.lse[0, $1, start + $2, $3] }
      return own
    }
  }

  /// The strategy with the parameters it has in the packed problem, where defaults follow the
  /// longest sequence.
  private func resolved(_ specimen: Specimen, _ problem: AttentionProblem) throws -> Specimen {
    try Specimen(parsing: specimen.strategy.spec(for: problem))
  }

  @Test(arguments: Specimen.all, [false, true])
  func eachSequenceIsWhatItIsAlone(_ specimen: Specimen, _ causal: Bool) throws {
    let batch = try Batch(causal: causal)
    let specimen = try resolved(specimen, batch.problem)
    for threads in [1, 3] {
      let outputs = try batch.outputs()
      let plan = try specimen.strategy.plan(for: batch.problem, on: Teams.of(threads))
      for _ in 0..<2 { try plan.run(batch.operands(outputs)) }
      let end = batch.packed.queryOffsets.last ?? 0
      outputs.output.forEachRow { _, head, row in
        if row < end { return }
        let isIntact = outputs.output[0, head, row].allSatisfy { $0.isNaN }
        #expect(isIntact, "wrote past the last sequence")
        #expect(outputs.lse[0, head, row, 0].isNaN, "wrote an LSE past the last sequence")
      }
      for sequence in batch.sequences {
        let packed = batch.outputs(of: sequence, outputs)
        let comment = "sequence \(sequence.index), \(threads) threads"
        if try sequence.sharesPlan(with: batch.problem, specimen) {
          let alone = try specimen.run(sequence.problem, sequence.inputs)
          #expect(packed.bits == alone.bits, "\(comment)")
        }
        ErrorGate.check(specimen, sequence.problem, sequence.inputs, packed, comment)
      }
    }
  }

  @Test(arguments: Specimen.all, [QueryOffset.topLeft, .fixed(-2), .fixed(4)])
  func offsetsHoldForEachSequence(_ specimen: Specimen, _ offset: QueryOffset) throws {
    let batch = try Batch(heads: 3, kvHeads: 1, causal: true, offset: offset)
    let specimen = try resolved(specimen, batch.problem)
    let outputs = try batch.outputs()
    try specimen.strategy.plan(for: batch.problem, on: Teams.of(1)).run(batch.operands(outputs))
    for sequence in batch.sequences {
      let packed = batch.outputs(of: sequence, outputs)
      ErrorGate.check(specimen, sequence.problem, sequence.inputs, packed, "\(sequence.index)")
      if try !sequence.sharesPlan(with: batch.problem, specimen) { continue }
      let alone = try specimen.run(sequence.problem, sequence.inputs)
      #expect(packed.bits == alone.bits, "\(sequence.index)")
    }
  }

  @Test(arguments: Specimen.all)
  func layoutDoesNotChangeABit(_ specimen: Specimen) throws {
    let bits = try TestLayout.allCases.map { layout in
      let batch = try Batch(causal: true, layout: layout)
      let outputs = try batch.outputs(layout: layout)
      try specimen.strategy.plan(for: batch.problem, on: Teams.of(2)).run(batch.operands(outputs))
      #expect(outputs.output.hasIntactPadding && outputs.lse.hasIntactPadding)
      return batch.sequences.map { batch.outputs(of: $0, outputs).bits }
    }
    #expect(bits.allSatisfy { $0 == bits[0] })
  }

  /// Query lengths without packing: rows past one are neither read nor written.
  @Test(arguments: Specimen.all, [false, true])
  func paddedQueriesAreLeftAlone(_ specimen: Specimen, _ causal: Bool) throws {
    let shape = try AttentionShape(
      batch: 4, heads: 4, kvHeads: 2, queryLength: 150, keyLength: 160, headDim: 16, valueDim: 9)
    let problem = try AttentionProblem(
      shape,
      visibility: Visibility(
        causal: causal, queryLengths: [150, 0, 1, 49], keyLengths: [160, 30, 0, 77]))
    let specimen = try resolved(specimen, problem)
    let inputs = TestInputs(problem, seed: 3)
    func poison(_ tensor: TestTensor, past lengths: [Int]) {
      tensor.forEachRow { batch, head, row in
        if row >= lengths[batch] { tensor[batch, head, row].update(repeating: .nan) }
      }
    }
    let queryLengths = try #require(problem.visibility.queryLengths)
    let keyLengths = try #require(problem.visibility.keyLengths)
    poison(inputs.query, past: queryLengths)
    poison(inputs.key, past: keyLengths)
    poison(inputs.value, past: keyLengths)
    let outputs = try specimen.run(problem, inputs, threads: 2, layout: .padded)
    #expect(outputs.hasIntactPadding)
    let lse = try #require(outputs.logSumExp)
    let oracle = specimen.strategy.oracle(for: problem)
    outputs.output.forEachRow { batch, head, row in
      let output = outputs.output[batch, head, row]
      if row >= queryLengths[batch] {
        let isIntact = output.allSatisfy { $0.isNaN } && lse[batch, head, row, 0].isNaN
        #expect(isIntact, "row \(row) written")
        return
      }
      let truth = oracle.row(
        InputViews(query: inputs.query.view, key: inputs.key.view, value: inputs.value.view),
        batch: batch,
        head: head, row: row)
      let error = zip(output, truth.output).map { abs(Double($0) - $1) }.max() ?? .infinity
      // An output of softmax is a mean of values; others are as large as they are.
      let size = specimen.isSoftmax ? 1 : max(1, truth.output.map(abs).max() ?? 1)
      #expect(error < 1e-5 * size, "batch \(batch), head \(head), row \(row)")
      let lse = Double(lse[batch, head, row, 0])
      #expect(lse == truth.logSumExp || abs(lse - truth.logSumExp) < 1e-5)
    }
  }

  /// A mix passes sequences on to its parts.
  @Test func aMixServesPackedSequences() throws {
    let batch = try Batch(causal: true)
    let texts = ["flash", "linear", "full", "window(9, sinks: 2)"]
    let mix = try MixedAttention(texts.map { try Specimen.registry.strategy($0) })
    let outputs = try batch.outputs()
    try mix.plan(for: batch.problem, on: Teams.of(1)).run(batch.operands(outputs))
    // Few query rows alone are decoded, see `sharesPlan`.
    for sequence in batch.sequences where sequence.problem.shape.queryLength > 16 {
      let alone = TestOutputs(sequence.problem)
      try mix.plan(for: sequence.problem, on: Teams.of(1)).run(alone.operands(sequence.inputs))
      #expect(batch.outputs(of: sequence, outputs).bits == alone.bits, "\(sequence.index)")
    }
  }

  /// Rows stored in half precision lie behind each other as those of fp32 do.
  @Test(arguments: ["flash", "full", "linear", "strided(5)"], [ElementType.bfloat16, .float16])
  func storedElementsCanBePacked(_ text: String, _ type: ElementType) throws {
    let offsets = [0, 70, 71, 71, 190]
    let packed = try PackedSequences(queryOffsets: offsets)
    let elements = Storage(type)
    let problem = try packed.problem(heads: 2, headDim: 16, causal: true, elements: elements)
    let strategy = try Specimen.registry.strategy(text)
    var generator = TestGenerator(seed: 2)
    func random() throws -> [Float] { (0..<2 * 190 * 16).map { _ in generator.normal() } }
    let numbers = try (0..<3).map { _ in try random() }
    func stored(_ which: Int, _ rows: Range<Int>) throws -> Tensor {
      let tensor = try Tensor(TensorShape(1, 2, rows.count, 16))
      for head in 0..<2 {
        for i in 0..<rows.count * 16 {
          tensor.elements[head * rows.count * 16 + i] =
            numbers[which][(head * 190 + rows.lowerBound) * 16 + i]
        }
      }
      return try Tensor(copying: tensor.view, as: type)
    }
    func run(_ problem: AttentionProblem, _ rows: Range<Int>, packed: PackedSequences?) throws
      -> [[UInt8]]
    {
      let inputs = try (0..<3).map { try stored($0, rows) }
      let output = try Tensor(TensorShape(1, 2, rows.count, 16), elementType: type)
      let operands =
        try packed?.operands(
          query: inputs[0].view, key: inputs[1].view, value: inputs[2].view,
          output: output.mutableView)
        ?? AttentionOperands(
          query: inputs[0].view, key: inputs[1].view, value: inputs[2].view,
          output: output.mutableView)
      return try withExtendedLifetime((inputs, output)) {
        try strategy.plan(for: problem, on: Teams.of(1)).run(operands)
        return (0..<2 * rows.count).map { Array(output.bytes[$0 * 32..<($0 + 1) * 32]) }
      }
    }
    let together = try run(problem, 0..<190, packed: packed)
    for (start, end) in zip(offsets, offsets.dropFirst()) where start < end {
      let own = try AttentionProblem(
        AttentionShape(heads: 2, queryLength: end - start, headDim: 16),
        visibility: Visibility(causal: true), storage: elements)
      let alone = try run(own, start..<end, packed: nil)
      for head in 0..<2 {
        let rows = together[head * 190 + start..<head * 190 + end]
        let own = alone[head * (end - start)..<(head + 1) * (end - start)]
        #expect(rows.elementsEqual(own), "head \(head), rows \(start)..<\(end)")
      }
    }
  }

  /// What two workers take from the queue is within a hundredth of a half of the work each, whatever the
  /// lengths: simulated, each task going to whoever is free first.
  @Test(arguments: [
    [8192, 1], [8192, 64, 64, 64, 64, 1, 1, 0], [5000, 3000, 2000, 1000, 700, 300, 10],
    [4096, 4095], [6000, 2000], Array(repeating: 37, count: 200) + [4000],
  ])
  func unequalLengthsKeepTwoWorkersBusy(_ lengths: [Int]) throws {
    let packed = try PackedSequences(
      queryOffsets: lengths.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) })
    for (heads, causal) in [(1, false), (1, true), (8, false), (8, true)] {
      let problem = try packed.problem(heads: heads, headDim: 64, causal: causal)
      for text in ["flash", "window(512)", "strided(64)"] {
        let strategy = try Specimen.registry.strategy(text)
        let stages = try SoftmaxEngine().taskCosts(for: problem, threads: 2) {
          strategy.pattern(for: $0)
        }
        var makespan = 0
        for stage in stages {
          var busy = [0, 0]
          for cost in stage { busy[busy[0] <= busy[1] ? 0 : 1] += cost }
          makespan += busy.max() ?? 0
        }
        let total = stages.joined().reduce(0, +)
        #expect(
          Double(makespan) <= 1.01 * Double(total) / 2,
          "\(text), \(heads) heads, causal \(causal): \(makespan) of \(total)")
      }
    }
  }

  @Test func workCountsRowsInUse() throws {
    let packed = try PackedSequences(queryOffsets: [0, 100, 130], keyOffsets: [0, 100, 180])
    let problem = try packed.problem(heads: 4, kvHeads: 2, headDim: 8, valueDim: 6)
    let pairs = 4 * (100 * 100 + 30 * 80)
    for text in ["flash", "full"] {
      let work = try Specimen.registry.strategy(text).work(for: problem, threads: 1)
      #expect(work.pairs == pairs)
      #expect(work.minimumBytes == 4 * (8 + 6) * (4 * 130 + 2 * 180))
    }
    let linear = try Specimen.registry.strategy("linear").work(for: problem, threads: 1)
    #expect(linear.flops == (4 * 130 + 2 * 180) * (2 * 8 * 6 + 2 * 8))
  }

  #if canImport(Glibc)
    /// In a process of its own, since the counter sees all threads.
    @Test func runningAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        let packed = try PackedSequences(queryOffsets: [0, 1, 1, 130, 200])
        let problem = try packed.problem(heads: 2, headDim: 16, causal: true)
        let tensors = try (0..<4).map { _ in try Tensor(TensorShape(1, 2, 200, 16)) }
        let operands = try packed.operands(
          query: tensors[0].view, key: tensors[1].view, value: tensors[2].view,
          output: tensors[3].mutableView)
        for specimen in Specimen.all {
          let count = try AllocationCount.ofRun(
            specimen.strategy.plan(for: problem, on: Teams.of(2)), operands, owners: tensors)
          #expect(count == 0, "\(specimen.text): \(count) allocations")
        }
      }
    }
  #endif

  @Test func offsetsThatAreNoneAreRefused() {
    func refuse(_ query: [Int], _ key: [Int]? = nil, _ words: [String]) {
      let error = #expect(throws: AttentionError.self) {
        _ = try PackedSequences(queryOffsets: query, keyOffsets: key)
      }
      for word in words { #expect(error?.description.contains(word) == true, "\(word): \(error)") }
    }
    refuse([], nil, ["queryOffsets = []", "begin with 0"])
    refuse([0], nil, ["queryOffsets = [0]", "one more value"])
    refuse([3, 5], nil, ["queryOffsets = [3, 5]", "begin with 0"])
    refuse([0, 9, 4], nil, ["queryOffsets = 4", "9 comes before it", "not lengths"])
    refuse([0, 4], [0, 9, 4], ["keyOffsets = 4"])
    refuse([0, 4, 9], [0, 9], ["keyOffsets = 2 values", "3"])
    refuse([0, Int(Int32.max)], nil, ["queryOffsets = 2147483647", "at most"])
  }

  @Test func tensorsThatDoNotFitAreRefused() throws {
    let packed = try PackedSequences(queryOffsets: [0, 4, 9])
    let good = try Tensor(TensorShape(1, 2, 9, 8))
    func refuse(_ tensor: Tensor, _ words: [String]) {
      let error = #expect(throws: AttentionError.self) {
        _ = try packed.operands(
          query: good.view, key: tensor.view, value: good.view, output: good.mutableView)
      }
      for word in words { #expect(error?.description.contains(word) == true, "\(word): \(error)") }
    }
    refuse(try Tensor(TensorShape(1, 2, 8, 8)), ["key = [1, 2, 8, 8]", "at least 9 rows"])
    refuse(try Tensor(TensorShape(2, 2, 9, 8)), ["key = [2, 2, 9, 8]", "[1, heads, rows"])
    refuse(
      try Tensor(TensorShape(1, 2, 9, 8), elementType: .int8PerChannel), ["int8-channel", "token"])
    let twice = try packed.operands(
      query: good.view, key: good.view, value: good.view, output: good.mutableView)
    #expect(throws: AttentionError.self) {
      _ = try packed.operands(
        query: twice.query, key: good.view, value: good.view, output: good.mutableView)
    }
  }
}
