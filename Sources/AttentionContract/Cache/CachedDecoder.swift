import AttentionKernels
import MachineTopology
import Tensors

/// Decoding over a key/value cache, for every strategy that attends to stored keys.
///
/// A step appends the new rows and runs the strategy's plan on the cache. Positions continue: token
/// t of a sequence gets what row t of one run over the whole sequence would give, within rounding,
/// when the cache keeps everything. Defaults of a strategy that follow from the length follow from
/// the problem's `keyLength`, and so do not change as the sequence grows.
///
/// Over a rolling cache a token attends to everything held, itself included; steps of several
/// tokens take them in one by one. Only strategies that see all keys can be asked for that: to the
/// others a key's position matters, which it has lost.
///
/// Once made ready for a number of new tokens, steps of as many allocate nothing where the
/// strategy's plans take key lengths (`AttentionPlan.takesKeyLengths`), and neither do steps whose
/// entries bring different numbers, each of which has been made ready for.
public final class CachedDecoder: AttentionDecoder {
  public let problem: AttentionProblem
  public let cache: any KeyValueCache
  /// What every step is given: weights, what queries bring along, what is kept beside the cache.
  public let declaredOperands: [OperandDeclaration]
  /// What is kept beside the cache.
  private let companion: (any CacheCompanion)?
  /// Rows that views of the cache say they have.
  private let rows: Int
  private let plans: StepPlans
  /// For steps in which entries bring different numbers of tokens.
  private let entryPlans: StepPlans
  // Memory of a step, kept so that steps allocate nothing.
  private var keyLengths: [Int]
  private var entryLengths: [Int] = [0]
  private var counts: [Int]
  private var chosen: [any AttentionPlan] = []
  /// Operands of one entry by name, whose places are used again.
  private var entryNamed: [String: TensorView] = [:]
  private var marked: [Int]?

  /// A decoder over a cache, which may hold tokens already.
  ///
  /// - Parameters:
  ///   - problem: options, sizes and element types. `keyLength` is the length that sequences may
  ///     reach, `queryLength` the tokens of a usual step.
  ///   - cache: stores rows as `problem.storage.keyValue` says.
  /// - Throws: `AttentionError` when the cache does not fit, when the problem has an offset or
  ///   lengths of its own, or when the strategy cannot serve it.
  public convenience init(
    _ strategy: any AttentionStrategy, for problem: AttentionProblem,
    cache: any KeyValueCache, on team: WorkerTeam
  ) throws(AttentionError) {
    try self.init(strategy, for: problem, cache: cache, companion: nil) {
      step throws(AttentionError) in
      try strategy.plan(for: step, on: team)
    }
  }

  /// A decoder that keeps something beside the cache.
  ///
  /// - Parameter plan: a plan for the problem of a step, whose runs bring the companion.
  package init(
    _ strategy: any AttentionStrategy, for problem: AttentionProblem,
    cache: any KeyValueCache, companion: (any CacheCompanion)?,
    plan: @escaping (AttentionProblem) throws(AttentionError) -> any AttentionPlan
  ) throws(AttentionError) {
    try problem.checkForDecoding()
    // What queries bring along comes with each step; what belongs to keys would have to be kept.
    if companion == nil,
      let operand = strategy.operands.first(where: { $0.axes.contains(.keyLength) })
    {
      throw AttentionError(
        .invalidArgument, argument: operand.name, value: "declared by \(strategy.name)",
        advice: "a key/value cache keeps no such rows; the strategy needs a decoder of its own")
    }
    try CachedDecoder.check(cache, for: problem)
    if !cache.keepsPositions { try CachedDecoder.checkPositions(strategy, problem) }
    let shape = problem.shape
    try companion?.check(cache)
    self.problem = problem
    self.cache = cache
    self.companion = companion
    declaredOperands = companion?.declaredOperands ?? strategy.operands
    rows = cache.keepsPositions ? shape.keyLength : cache.capacity
    let isPaged = cache.views(rows: rows).key.isPaged
    plans = StepPlans(
      problem, batch: shape.batch, capacity: rows, isPaged: isPaged, make: plan)
    entryPlans = StepPlans(problem, batch: 1, capacity: rows, isPaged: isPaged, make: plan)
    keyLengths = Array(repeating: 0, count: shape.batch)
    counts = keyLengths
    chosen.reserveCapacity(shape.batch)
    try prepare(newTokens: shape.queryLength)
  }

  public var tokens: [Int] { cache.tokens }
  public var cacheBytes: Int { cache.bytes + (companion?.bytes ?? 0) }
  public var workspaceBytes: Int { plans.workspaceBytes + entryPlans.workspaceBytes }

  public func prepare(newTokens count: Int) throws(AttentionError) {
    // A cache that drops tokens takes them in one by one.
    let rows = takesOneByOne ? 1 : count
    try plans.prepare(rows: rows)
    if problem.shape.batch > 1, problem.entriesAreAlike { try entryPlans.prepare(rows: rows) }
  }

  /// Whether a token must not be in the cache yet when the one before it attends.
  private var takesOneByOne: Bool { !cache.keepsPositions && problem.visibility.causal }

  public func step(
    _ operands: AttentionOperands, newTokens: [Int]?
  ) throws(AttentionError) {
    let count = try checkStep(operands, newTokens)
    if !takesOneByOne {
      return try advance(operands, count: count, newTokens: newTokens)
    }
    for row in 0..<count {
      for entry in counts.indices { counts[entry] = row < newTokens?[entry] ?? count ? 1 : 0 }
      try advance(operands.rows(first: row, count: 1), count: 1, newTokens: counts)
    }
  }

  public func takeIn(
    _ operands: AttentionOperands, newTokens: [Int]?
  ) throws(AttentionError) {
    _ = try checkStep(operands, newTokens)
    try append(operands, newTokens: newTokens)
    companion?.end(attended: false)
  }

  /// Refuses tensors that do not fit and tokens that the problem has no room for; returns the rows there are.
  private func checkStep(
    _ operands: AttentionOperands, _ newTokens: [Int]?
  ) throws(AttentionError) -> Int {
    let count = try check(operands, newTokens: newTokens)
    try companion?.check(cache)
    for entry in 0..<problem.shape.batch where cache.keepsPositions {
      let needed = cache.tokens[entry] + (newTokens?[entry] ?? count)
      if needed > problem.shape.keyLength {
        throw AttentionError(
          .capacityExhausted, argument: "keyLength", value: problem.shape.keyLength,
          advice: "entry \(entry) would have \(needed) tokens; make the decoder for a problem of "
            + "that keyLength")
      }
    }
    return count
  }

  /// Appends and attends. Whatever can fail comes before the cache changes.
  private func advance(
    _ operands: AttentionOperands, count: Int, newTokens: [Int]?
  ) throws(AttentionError) {
    for entry in keyLengths.indices {
      keyLengths[entry] = cache.length(entry: entry, adding: newTokens?[entry] ?? count)
    }
    if newTokens?.allSatisfy({ $0 == count }) ?? true {
      let plan = try plans.plan(rows: count, keyLengths: keyLengths)
      try append(operands, newTokens: newTokens)
      defer { companion?.end(attended: true) }
      var whole = operands
      (whole.key, whole.value) = cache.views(rows: rows)
      if plan.takesKeyLengths { whole.keyLengths = keyLengths }
      if let companion { (whole.companion, whole.inputs.named) = (companion, [:]) }
      return try plan.run(whole)
    }
    guard let newTokens else { return }
    try attendByEntry(operands, newTokens: newTokens)
  }

  /// Appends, and attends entry by entry.
  private func attendByEntry(
    _ operands: AttentionOperands, newTokens: [Int]
  ) throws(AttentionError) {
    guard problem.entriesAreAlike else {
      throw AttentionError(
        .invalidArgument, argument: "newTokens", value: newTokens,
        advice: "must be the same for all entries where masks or prefixes differ between them")
    }
    chosen.removeAll(keepingCapacity: true)
    for entry in newTokens.indices where newTokens[entry] > 0 {
      entryLengths[0] = keyLengths[entry]
      chosen.append(try entryPlans.plan(rows: newTokens[entry], keyLengths: entryLengths))
    }
    try append(operands, newTokens: newTokens)
    defer { companion?.end(attended: true) }
    let views = cache.views(rows: rows)
    var next = 0
    for entry in newTokens.indices where newTokens[entry] > 0 {
      let plan = chosen[next]
      next += 1
      var own = operands.entry(entry, count: newTokens[entry])
      own.key = views.key.entry(entry, count: rows)
      own.value = views.value.entry(entry, count: rows)
      entryLengths[0] = keyLengths[entry]
      if plan.takesKeyLengths { own.keyLengths = entryLengths }
      (own.companion, own.companionEntry) = (companion, entry)
      for declaration in companion == nil ? declaredOperands : [] {
        let whole = operands.inputs.named[declaration.name]
        entryNamed[declaration.name] =
          declaration.isShared ? whole : whole?.entry(entry, count: newTokens[entry])
      }
      own.inputs.named = entryNamed
      try plan.run(own)
    }
    chosen.removeAll(keepingCapacity: true)
  }

  private func append(
    _ operands: AttentionOperands, newTokens: [Int]?
  ) throws(AttentionError) {
    try cache.append(key: operands.key, value: operands.value, counts: newTokens)
    companion?.begin(operands.inputs, cache: cache, counts: newTokens)
  }

  public func truncate(entry: Int, to count: Int) throws(AttentionError) {
    try cache.truncate(entry: entry, to: count)
    companion?.truncate(entry: entry, to: count)
  }

  public func mark() { marked = cache.tokens }

  public func rewind() throws(AttentionError) {
    guard let marked else { throw .noMark }
    for (entry, count) in marked.enumerated() { try truncate(entry: entry, to: count) }
  }

  private static func check(
    _ cache: any KeyValueCache, for problem: AttentionProblem
  ) throws(AttentionError) {
    let (held, needed) = (cache.shape, CacheShape(problem.shape))
    if held != needed {
      throw AttentionError(
        .shapeMismatch, argument: "cache", value: held.key(rows: cache.capacity),
        advice: "the problem's keys are \(needed.key(rows: problem.shape.keyLength)), its values "
          + "have \(needed.valueDim) columns")
    }
    if cache.elementType != problem.storage.keyValue {
      throw AttentionError(
        .shapeMismatch, argument: "cache", value: cache.elementType.rawValue,
        advice: "the problem's keys and values are stored as "
          + "\(problem.storage.keyValue.rawValue); make both the same")
    }
  }

  /// Refuses what depends on positions where they are lost.
  private static func checkPositions(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem
  ) throws(AttentionError) {
    let advice = "goes by positions, which a rolling cache loses; use a cache that keeps everything"
    try problem.refuse([.prefix, .window, .mask, .bias, .alibi], advice: advice)
    if strategy.operatorClass == .exact { return }
    throw AttentionError(
      .invalidArgument, argument: "strategy", value: strategy.spec(for: problem),
      advice: advice + ", or flash, which over a rolling cache is a window with sinks")
  }
}

extension AttentionOperands {
  /// The rows of a step from `first` on.
  fileprivate func rows(first: Int, count: Int) -> AttentionOperands {
    AttentionOperands(
      query: query.rows(first: first, count: count), key: key.rows(first: first, count: count),
      value: value.rows(first: first, count: count), named: inputs.named,
      output: output.rows(first: first, count: count),
      logSumExp: logSumExp?.rows(first: first, count: count))
  }

  /// One batch entry's first rows.
  fileprivate func entry(_ entry: Int, count: Int) -> AttentionOperands {
    AttentionOperands(
      query: query.entry(entry, count: count), key: key.entry(entry, count: count),
      value: value.entry(entry, count: count), named: inputs.named,
      output: output.entry(entry, count: count),
      logSumExp: logSumExp?.entry(entry, count: count))
  }
}
