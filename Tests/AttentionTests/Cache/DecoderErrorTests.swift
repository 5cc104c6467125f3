import Attention
import AttentionTestSupport
import Testing

/// Every refusal names what is wrong, and leaves cache and decoder as they were.
@Suite struct DecoderErrorTests {
  private static let flash = "flash"

  private func problem(keyLength: Int = 8, alibi: [Float]? = nil) throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 2, queryLength: 1, keyLength: keyLength, headDim: 4, valueDim: 3),
      visibility: Visibility(causal: true, alibiSlopes: alibi))
  }

  private func tensor(_ batch: Int, _ heads: Int, _ rows: Int, _ columns: Int) throws -> TestTensor
  {
    let tensor = try TestTensor(TensorShape(batch, heads, rows, columns))
    tensor.fill { _, _, row, column in Float(row + column) }
    return tensor
  }

  @Test(arguments: ["flash", "linear"])
  func aStepRefusesTensorsThatDoNotFit(_ text: String) throws {
    let decoder = try StrategyRegistry.standard.strategy(text)
      .decoder(for: problem(), on: Teams.of(1))
    let (query, key, value, output) = try (
      tensor(2, 2, 1, 4), tensor(2, 2, 1, 4), tensor(2, 2, 1, 3), tensor(2, 2, 1, 3)
    )
    let other = try tensor(2, 2, 1, 5)
    let two = try tensor(2, 2, 2, 3)
    let attempts: [(String, () throws -> Void)] = [
      (
        "query",
        {
          try decoder.step(
            query: other.view, key: key.view, value: value.view, output: output.mutableView)
        }
      ),
      (
        "key",
        {
          try decoder.step(
            query: query.view, key: other.view, value: value.view, output: output.mutableView)
        }
      ),
      (
        "value",
        {
          try decoder.step(
            query: query.view, key: key.view, value: two.view, output: output.mutableView)
        }
      ),
      (
        "output",
        {
          try decoder.step(
            query: query.view, key: key.view, value: value.view, output: two.mutableView)
        }
      ),
      (
        "logSumExp",
        {
          try decoder.step(
            query: query.view, key: key.view, value: value.view, output: output.mutableView,
            logSumExp: two.mutableView)
        }
      ),
      (
        "newTokens",
        {
          try decoder.step(
            query: query.view, key: key.view, value: value.view, output: output.mutableView,
            newTokens: [1, 2])
        }
      ),
    ]
    for (argument, attempt) in attempts {
      let error = #expect(throws: AttentionError.self, performing: attempt)
      #expect(error?.argument == argument)
      #expect(decoder.tokens == [0, 0])
    }
    let entry = #expect(throws: AttentionError.self) { try decoder.truncate(entry: 2, to: 0) }
    #expect(entry?.argument == "entry")
    let count = #expect(throws: AttentionError.self) { try decoder.truncate(entry: 0, to: 1) }
    #expect(count?.argument == "count")
  }

  @Test func aSequenceEndsAtTheKeyLength() throws {
    let decoder = try StrategyRegistry.standard.strategy("flash")
      .decoder(for: problem(keyLength: 2), on: Teams.of(1))
    let (query, key, value, output) = try (
      tensor(2, 2, 1, 4), tensor(2, 2, 1, 4), tensor(2, 2, 1, 3), tensor(2, 2, 1, 3)
    )
    let step = {
      try decoder.step(
        query: query.view, key: key.view, value: value.view, output: output.mutableView)
    }
    try step()
    try step()
    let error = #expect(throws: AttentionError.self, performing: step)
    #expect(error?.kind == .capacityExhausted)
    #expect(error?.argument == "keyLength")
    #expect(decoder.tokens == [2, 2])
  }

  /// A cache that is full before the sequence is says how to go on.
  @Test func aFullCacheSaysReserve() throws {
    let cache = try ContiguousCache(CacheShape(problem().shape), capacity: 1)
    let decoder = try StrategyRegistry.standard.strategy("flash")
      .decoder(for: problem(), cache: .existing(cache), on: Teams.of(1))
    let (query, key, value, output) = try (
      tensor(2, 2, 2, 4), tensor(2, 2, 2, 4), tensor(2, 2, 2, 3), tensor(2, 2, 2, 3)
    )
    let step = {
      try decoder.step(
        query: query.view, key: key.view, value: value.view, output: output.mutableView)
    }
    let error = #expect(throws: AttentionError.self, performing: step)
    #expect(error?.kind == .capacityExhausted)
    #expect(error?.advice.contains("reserve(2)") == true)
    #expect(cache.lengths == [0, 0])
    try cache.reserve(2)
    try step()
    #expect(cache.lengths == [2, 2])
  }

  @Test func whatADecoderDecidesIsRefused() throws {
    let shape = try problem().shape
    let strategy = try StrategyRegistry.standard.strategy("flash")
    let mask = try BroadcastTensor<UInt8>(TensorShape(1, 1, 3, 8)) { $0.update(repeating: 1) }
    let three = try AttentionShape(
      batch: 2, heads: 2, queryLength: 3, keyLength: 8, headDim: 4, valueDim: 3)
    for (argument, problem) in try [
      ("offset", AttentionProblem(shape, visibility: Visibility(causal: true, offset: .topLeft))),
      (
        "keyLengths",
        AttentionProblem(shape, visibility: Visibility(causal: true, keyLengths: [1, 2]))
      ),
      (
        "queryLengths",
        AttentionProblem(shape, visibility: Visibility(causal: true, queryLengths: [1, 1]))
      ),
      ("mask", AttentionProblem(three, visibility: Visibility(causal: true, mask: mask))),
    ] {
      let error = #expect(throws: AttentionError.self) {
        try strategy.decoder(for: problem, on: Teams.of(1))
      }
      #expect(error?.argument == argument)
    }
  }

  @Test func aCacheMustFitTheProblem() throws {
    let strategy = try StrategyRegistry.standard.strategy("flash")
    for cache in try [
      ContiguousCache(CacheShape(batch: 2, kvHeads: 1, headDim: 4, valueDim: 3), capacity: 8),
      ContiguousCache(CacheShape(problem().shape), capacity: 8, elementType: .float16),
    ] {
      let error = #expect(throws: AttentionError.self) {
        try strategy.decoder(for: problem(), cache: .existing(cache), on: Teams.of(1))
      }
      #expect(error?.argument == "cache")
    }
  }

  /// Positions are lost in a rolling cache: what goes by them is refused.
  @Test func aRollingCacheRefusesWhatGoesByPositions() throws {
    let cache = CacheChoice.rolling(sinks: 1, window: 4)
    for specimen in Specimen.softmax + [try mixed("window(4)"), try mixed("flash")] {
      if specimen.strategy.operatorClass == .exact {
        _ = try specimen.strategy.decoder(for: problem(), cache: cache, on: Teams.of(1))
        continue
      }
      let error = #expect(throws: AttentionError.self, "\(specimen.text)") {
        try specimen.strategy.decoder(for: problem(), cache: cache, on: Teams.of(1))
      }
      #expect(error?.argument == "strategy")
    }
    let error = #expect(throws: AttentionError.self) {
      try StrategyRegistry.standard.strategy("flash")
        .decoder(for: problem(alibi: [1, 1]), cache: cache, on: Teams.of(1))
    }
    #expect(error?.argument == "alibiSlopes")
  }

  private func mixed(_ text: String) throws -> Specimen {
    let strategy = try StrategyRegistry.standard.strategy(text)
    return Specimen(
      text: "mix of \(text)", strategy: try MixedAttention([strategy, strategy]))
  }

  /// 8-bit integers know no NaN: it is named before anything is stored.
  @Test(arguments: [ElementType.int8PerToken, .int8PerChannel], CacheKind.allCases)
  func integersRefuseWhatIsNotFinite(_ elementType: ElementType, _ kind: CacheKind) throws {
    let cache = try kind.make(
      CacheShape(batch: 2, kvHeads: 2, headDim: 4), capacity: 9, elementType)
    if let cache = cache as? ContiguousCache { try cache.reserve(9) }
    let (good, bad) = try (tensor(2, 2, 3, 4), tensor(2, 2, 3, 4))
    bad[1, 0, 2, 3] = .nan
    for (key, value, argument) in [(bad, good, "key[1, 0, 2]"), (good, bad, "value[1, 0, 2]")] {
      let error = #expect(throws: AttentionError.self) {
        try cache.append(key: key.view, value: value.view)
      }
      #expect(error?.kind == .notFinite)
      #expect(error?.argument == argument)
      #expect(error?.value == "nan")
      #expect(cache.lengths == [0, 0])
    }
    // A row that is not taken in may hold anything.
    try cache.append(key: bad.view, value: bad.view, counts: [3, 2])
    #expect(cache.lengths == [3, 2])
    bad[1, 0, 2, 3] = .infinity
    let (half, brain) = (StoredTensor(good, .float16), StoredTensor(bad, .bfloat16))
    let error = #expect(throws: AttentionError.self) {
      try cache.append(key: half.view, value: brain.view)
    }
    #expect(error?.value == "inf")
  }

  @Test func sizesAndScalesAreChecked() throws {
    let shape = try CacheShape(kvHeads: 2, headDim: 4)
    let pool = try PagePool(shape, pageCount: 1, pageRows: 1)
    let attempts: [(String, () throws -> Void)] = [
      ("capacity", { _ = try ContiguousCache(shape, capacity: 0) }),
      ("window", { _ = try RollingCache(shape, window: 0) }),
      ("sinks", { _ = try RollingCache(shape, sinks: -1, window: 1) }),
      ("pageRows", { _ = try PagePool(shape, pageCount: 1, pageRows: 0) }),
      ("pageCount x pageRows", { _ = try PagePool(shape, pageCount: 1 << 40, pageRows: 1 << 40) }),
      ("maximumLength", { _ = try PagedCache(shape, maximumLength: 0, pool: pool) }),
      ("headDim", { _ = try CacheShape(kvHeads: 1, headDim: 0) }),
      (
        "channelScales",
        {
          _ = try ContiguousCache(
            shape, capacity: 1, channelScales: ChannelScales(key: [], value: []))
        }
      ),
      (
        "channelScales.key",
        {
          _ = try ContiguousCache(
            shape, capacity: 1, elementType: .int8PerChannel,
            channelScales: ChannelScales(key: [1], value: []))
        }
      ),
      (
        "channelScales.value",
        {
          _ = try ContiguousCache(
            shape, capacity: 1, elementType: .int8PerChannel,
            channelScales: ChannelScales(
              key: Array(repeating: 1, count: 8), value: Array(repeating: -1, count: 8)))
        }
      ),
    ]
    for (argument, attempt) in attempts {
      let error = #expect(throws: AttentionError.self, performing: attempt)
      #expect(error?.argument == argument)
    }
  }
}
