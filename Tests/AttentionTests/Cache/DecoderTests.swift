import Attention
import AttentionTestSupport
import Testing

/// Decoding step by step gives the rows of one run over the whole sequence.
@Suite struct DecoderTests {
  /// Values are unit normal: some tens of roundings.
  private static let tolerance = 5e-6

  private static func whole(_ length: Int = 61) throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 6, kvHeads: 2, queryLength: length, headDim: 19, valueDim: 21),
      visibility: Visibility(causal: true))
  }

  /// Prompts, single tokens, a few at once, and entries that bring different numbers or none.
  private static let schedule: [[Int]] =
    [
      [1, 1], [13, 13], [1, 1], [1, 1], [4, 4], [7, 2], [0, 1], [1, 0], [1, 1], [2, 3], [1, 1],
    ]
    + Array(repeating: [1, 1], count: 9) + [[19, 5], [1, 1]]

  @Test(arguments: Specimen.all, CacheKind.keepingEverything)
  func stepsAreTheRowsOfOneRun(_ specimen: Specimen, _ kind: CacheKind) throws {
    let whole = try DecoderTests.whole()
    let run = DecodeRun(whole, seed: 5)
    let problem = try DecodeRun.problem(of: whole)
    let cache = try kind.make(CacheShape(problem.shape), capacity: 61, .float32)
    try cache.poison()
    let decoder = try specimen.strategy.decoder(
      for: problem, cache: .existing(cache), on: Teams.of(2))
    for counts in DecoderTests.schedule {
      if let cache = cache as? ContiguousCache {
        try cache.reserve((0..<2).map { decoder.tokens[$0] + counts[$0] }.max() ?? 1)
      }
      try run.step(decoder, counts)
    }
    let error = run.error(specimen.strategy.oracle(for: whole), decoder)
    #expect(error <= DecoderTests.tolerance * run.size(specimen))
  }

  /// Tokens that are taken in without outputs are part of the past like others, to the same bits.
  @Test(arguments: Specimen.all, CacheKind.keepingEverything)
  func tokensTakenInArePartOfThePast(_ specimen: Specimen, _ kind: CacheKind) throws {
    let whole = try DecoderTests.whole()
    let problem = try DecodeRun.problem(of: whole)
    var outputs: [TestTensor] = []
    for attends in [true, false] {
      let run = DecodeRun(whole, seed: 9)
      let cache = try kind.make(CacheShape(problem.shape), capacity: 61, .float32)
      try (cache as? ContiguousCache)?.reserve(61)
      let decoder = try specimen.strategy.decoder(
        for: problem, cache: .existing(cache), on: Teams.of(2))
      for (index, counts) in DecoderTests.schedule.enumerated() {
        // Every third one attends in both.
        try run.step(decoder, counts, attends: attends || index.isMultiple(of: 3))
      }
      outputs.append(run.outputs.output)
    }
    var count = 0
    outputs[1].forEachRow { entry, head, row in
      let own = outputs[1][entry, head, row].map(\.bitPattern)
      if outputs[1][entry, head, row].contains(where: \.isNaN) { return }
      count += 1
      #expect(own == outputs[0][entry, head, row].map(\.bitPattern))
    }
    #expect(count > 100)
  }

  /// Attention is over the rows as the cache holds them.
  @Test(arguments: CacheKind.keepingEverything, ElementType.allCases)
  func storedRowsAreWhatIsAttendedTo(_ kind: CacheKind, _ elementType: ElementType) throws {
    let whole = try DecoderTests.whole()
    for text in ["flash", "full", "window(16, sinks: 2)", "strided(5)", "fixed(8, 3)"] {
      let strategy = try Specimen.registry.strategy(text)
      let run = DecodeRun(whole, seed: 6)
      let problem = try DecodeRun.problem(
        of: whole, elements: Storage(.float32, keyValue: elementType))
      let cache = try kind.make(CacheShape(problem.shape), capacity: 61, elementType)
      try cache.poison()
      let decoder = try strategy.decoder(
        for: problem, cache: .existing(cache), on: Teams.of(2))
      for counts in DecoderTests.schedule {
        if let cache = cache as? ContiguousCache {
          try cache.reserve((0..<2).map { decoder.tokens[$0] + counts[$0] }.max() ?? 1)
        }
        try run.step(decoder, counts)
      }
      let held = try cache.contents(rows: 61)
      let error = run.error(
        strategy.oracle(for: whole), decoder, key: held.key, value: held.value)
      #expect(error <= DecoderTests.tolerance, "\(text)")
    }
  }

  /// Heads with strategies of their own decode over one cache.
  @Test(arguments: CacheKind.keepingEverything)
  func aMixOfStrategiesDecodes(_ kind: CacheKind) throws {
    let whole = try DecoderTests.whole()
    let texts = ["flash", "window(9)", "linear", "flash", "strided(4)", "full"]
    for texts in [texts, Array(repeating: "flash", count: 5) + ["window(9)"]] {
      let mix = try MixedAttention(texts.map { try Specimen.registry.strategy($0) })
      let run = DecodeRun(whole, seed: 16)
      let problem = try DecodeRun.problem(of: whole)
      let cache = try kind.make(CacheShape(problem.shape), capacity: 61, .float32)
      try (cache as? ContiguousCache)?.reserve(61)
      let decoder = try mix.decoder(for: problem, cache: .existing(cache), on: Teams.of(2))
      for counts in DecoderTests.schedule { try run.step(decoder, counts) }
      #expect(run.error(mix.oracle(for: whole), decoder) <= DecoderTests.tolerance)
    }
  }

  /// A caller states the problem and the cache, and need not ask what the strategy makes of it.
  @Test(arguments: Specimen.all)
  func everyStrategyDecodesFromTheSameWords(_ specimen: Specimen) throws {
    let whole = try DecoderTests.whole(9)
    let problem = try DecodeRun.problem(
      of: whole, step: 2, elements: Storage(.float32, keyValue: .int8PerToken))
    let run = DecodeRun(whole, seed: 15)
    let decoder = try specimen.strategy.decoder(for: problem, on: Teams.of(2))
    for counts in [[2, 2], [2, 1], [0, 2]] { try run.step(decoder, counts) }
    #expect(decoder.tokens == [4, 5])
    #expect(decoder.cacheBytes > 0)
    // Rows within some 8-bit steps of what fp32 would give.
    #expect(run.error(specimen.strategy.oracle(for: whole), decoder) < 0.1 * run.size(specimen))
  }

  /// Softcap, sink logits and the other options of a softmax act in a step as in a run.
  @Test func optionsOfTheSoftmaxApply() throws {
    let shape = try DecoderTests.whole().shape
    let whole = try AttentionProblem(
      shape, scoring: Scoring(scale: 0.3, softcap: 2, sinkLogits: [0.5, -1, 2, 0, 1, -.infinity]),
      visibility: Visibility(causal: true))
    for text in ["flash", "full", "strided(4)"] {
      let strategy = try Specimen.registry.strategy(text)
      let run = DecodeRun(whole, seed: 7)
      let decoder = try strategy.decoder(for: DecodeRun.problem(of: whole), on: Teams.of(2))
      for counts in DecoderTests.schedule { try run.step(decoder, counts) }
      let error = run.error(strategy.oracle(for: whole), decoder)
      #expect(error <= DecoderTests.tolerance, "\(text)")
    }
  }

  /// A model's own window and chunks hold in a step as in a run.
  @Test(arguments: Specimen.softmax, ["windowLeft", "chunk"])
  func windowsAndChunksApply(_ specimen: Specimen, _ argument: String) throws {
    let isWindow = argument == "windowLeft"
    let whole = try AttentionProblem(
      DecoderTests.whole().shape,
      visibility: Visibility(
        causal: true, windowLeft: isWindow ? 9 : nil, chunk: isWindow ? nil : 16))
    let run = DecodeRun(whole, seed: 8)
    let problem = try DecodeRun.problem(of: whole)
    let decoder = try specimen.strategy.decoder(for: problem, on: Teams.of(2))
    for counts in DecoderTests.schedule { try run.step(decoder, counts) }
    let error = run.error(specimen.strategy.oracle(for: whole), decoder)
    #expect(error <= DecoderTests.tolerance * run.size(specimen))
    let rolling = #expect(throws: AttentionError.self) {
      try specimen.strategy.decoder(
        for: problem, cache: .rolling(sinks: 1, window: 8), on: Teams.of(1))
    }
    #expect(rolling?.argument == argument)
  }

  /// Not causal, the new tokens see each other and all before.
  @Test(arguments: ["flash", "full", "linear"])
  func withoutACausalMaskNewTokensSeeEachOther(_ text: String) throws {
    let strategy = try Specimen.registry.strategy(text)
    let whole = try AttentionProblem(
      DecoderTests.whole().shape, visibility: Visibility(causal: false))
    let run = DecodeRun(whole, seed: 8)
    let decoder = try strategy.decoder(for: DecodeRun.problem(of: whole), on: Teams.of(2))
    for counts in [[20, 20], [8, 8]] { try run.step(decoder, counts) }
    let oracle = strategy.oracle(
      for: try AttentionProblem(
        whole.shape, visibility: Visibility(offset: .topLeft, keyLengths: [28, 28])))
    for row in 20..<28 {
      let truth = oracle.row(
        InputViews(
          query: run.inputs.query.view, key: run.inputs.key.view, value: run.inputs.value.view),
        batch: 1, head: 5, row: row)
      for (x, y) in zip(run.outputs.output[1, 5, row], truth.output) {
        #expect(abs(Double(x) - y) <= DecoderTests.tolerance)
      }
    }
  }

  /// StreamingLLM: full attention over a rolling cache is a window with sink tokens.
  @Test(arguments: ["flash", "full"], ElementType.allCases)
  func aRollingCacheIsAWindowWithSinks(_ text: String, _ elementType: ElementType) throws {
    let whole = try DecoderTests.whole()
    let run = DecodeRun(whole, seed: 9)
    let strategy = try Specimen.registry.strategy(text)
    let decoder = try strategy.decoder(
      for: DecodeRun.problem(of: whole, elements: Storage(.float32, keyValue: elementType)),
      cache: .rolling(sinks: CacheKind.sinks, window: CacheKind.window), on: Teams.of(2))
    let bytes = decoder.cacheBytes
    for counts in DecoderTests.schedule { try run.step(decoder, counts) }
    #expect(decoder.cacheBytes == bytes)
    let window = try Specimen.registry.strategy(
      "window(\(CacheKind.window), sinks: \(CacheKind.sinks))")
    // What each token saw is gone from the cache; a cache that keeps everything, fed alike, stores
    // the same numbers.
    let keeping = try ContiguousCache(
      CacheShape(whole.shape), capacity: 61, elementType: elementType)
    if elementType == .int8PerChannel {
      try appendFirst(run.inputs, counts: DecoderTests.schedule[0], to: keeping)
      try appendRest(run.inputs, from: 1, to: keeping)
    } else {
      try keeping.append(key: run.inputs.key.view, value: run.inputs.value.view)
    }
    let held = try keeping.contents(rows: 61)
    let error = run.error(
      window.oracle(for: whole), decoder, key: held.key, value: held.value)
    #expect(error <= DecoderTests.tolerance)
  }

  private func appendFirst(
    _ inputs: TestInputs, counts: [Int], to cache: ContiguousCache
  ) throws {
    try cache.append(key: inputs.key.view, value: inputs.value.view, counts: counts)
  }

  private func appendRest(
    _ inputs: TestInputs, from first: Int, to cache: ContiguousCache
  ) throws {
    for row in first..<inputs.key.shape.rows {
      let (key, value) = try (
        TestTensor(TensorShape(2, 2, 1, 19)), TestTensor(TensorShape(2, 2, 1, 21))
      )
      key.fill { inputs.key[$0, $1, row + $2, $3] }
      value.fill { inputs.value[$0, $1, row + $2, $3] }
      try cache.append(key: key.view, value: value.view)
    }
  }

  /// Tokens that were speculated and not accepted leave no trace.
  @Test(arguments: CacheKind.keepingEverything)
  func truncatedTokensLeaveNoTrace(_ kind: CacheKind) throws {
    let whole = try DecoderTests.whole()
    let strategy = try Specimen.registry.strategy("flash")
    let problem = try DecodeRun.problem(of: whole)
    let run = DecodeRun(whole, seed: 10)
    let decoder = try strategy.decoder(
      for: problem, cache: .existing(kind.make(CacheShape(problem.shape), capacity: 61, .float32)),
      on: Teams.of(2))
    let wrong = DecodeRun(whole, seed: 11)
    for length in stride(from: 0, to: 60, by: 3) {
      if let cache = (decoder as? CachedDecoder)?.cache as? ContiguousCache {
        try cache.reserve(min(length + 9, 61))
      }
      if length < 55 {
        try wrong.step(decoder, [4, 4])
        for entry in 0..<2 { try decoder.truncate(entry: entry, to: length) }
      }
      try run.step(decoder, [3, 3])
    }
    #expect(run.error(strategy.oracle(for: whole), decoder) <= DecoderTests.tolerance)
  }

  /// A draft that was refused leaves no trace: after going back, tokens give the bits that they would
  /// have given without it, as often as one goes back.
  @Test(arguments: Specimen.all, CacheKind.keepingEverything)
  func goingBackLeavesNoTrace(_ specimen: Specimen, _ kind: CacheKind) throws {
    let whole = try DecoderTests.whole()
    let problem = try DecodeRun.problem(of: whole)
    func decoder() throws -> any AttentionDecoder {
      let cache = try kind.make(CacheShape(problem.shape), capacity: 61, .float32)
      try (cache as? ContiguousCache)?.reserve(61)
      return try specimen.strategy.decoder(for: problem, cache: .existing(cache), on: Teams.of(2))
    }
    let (plain, drafted) = (DecodeRun(whole, seed: 17), DecodeRun(whole, seed: 17))
    let (straight, returning) = (try decoder(), try decoder())
    #expect(throws: AttentionError.self) { try returning.rewind() }
    let wrong = DecodeRun(whole, seed: 18)
    for counts in [[9, 4], [1, 1], [3, 3], [1, 0]] {
      try plain.step(straight, counts)
      try returning.mark()
      for draft in [[2, 2], [1, 5]] {
        try wrong.step(returning, draft)
        try returning.rewind()
      }
      #expect(returning.tokens == zip(straight.tokens, counts).map { $0 - $1 })
      try drafted.step(returning, counts)
    }
    #expect(plain.outputs.bits == drafted.outputs.bits)
  }

  /// What a rolling cache has dropped does not come back.
  @Test func aRollingCacheDoesNotGoBack() throws {
    let whole = try DecoderTests.whole()
    let decoder = try Specimen.registry.strategy("flash").decoder(
      for: DecodeRun.problem(of: whole), cache: .rolling(sinks: 2, window: 5), on: Teams.of(1))
    let run = DecodeRun(whole, seed: 19)
    try run.step(decoder, [20, 20])
    try decoder.mark()
    try run.step(decoder, [9, 9])
    #expect(throws: AttentionError.self) { try decoder.rewind() }
  }

  /// Linear attention forgets everything or nothing.
  @Test func aStateStartsAnew() throws {
    let whole = try DecoderTests.whole()
    let strategy = try Specimen.registry.strategy("linear")
    let decoder = try strategy.decoder(for: DecodeRun.problem(of: whole), on: Teams.of(2))
    let first = DecodeRun(whole, seed: 12)
    try first.step(decoder, [30, 10])
    #expect(throws: AttentionError.self) { try decoder.truncate(entry: 0, to: 29) }
    for entry in 0..<2 { try decoder.truncate(entry: entry, to: 0) }
    let run = DecodeRun(whole, seed: 13)
    for counts in DecoderTests.schedule { try run.step(decoder, counts) }
    #expect(run.error(strategy.oracle(for: whole), decoder) <= DecoderTests.tolerance)
  }

  /// The bits do not depend on the number of workers.
  @Test(arguments: Specimen.all)
  func bitsDoNotDependOnThreads(_ specimen: Specimen) throws {
    let whole = try DecoderTests.whole()
    let bits = try [1, 2, 5].map { threads in
      let run = DecodeRun(whole, seed: 14)
      let decoder = try specimen.strategy.decoder(
        for: DecodeRun.problem(of: whole), on: Teams.of(threads))
      for counts in DecoderTests.schedule { try run.step(decoder, counts) }
      return run.outputs.bits
    }
    #expect(bits[0] == bits[1])
    #expect(bits[0] == bits[2])
  }
}
