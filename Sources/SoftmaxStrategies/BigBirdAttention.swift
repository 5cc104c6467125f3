import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Block-sparse attention to neighbouring, global and random blocks.
///
/// Positions lie in blocks of `block`. A query sees `window` blocks (under a causal mask its own and
/// those before it, otherwise the own one and `window / 2` to each side), the first `global` blocks,
/// and `random` of the others, which all queries of its block and all heads share; queries of the
/// first `global` blocks see every key. A causal mask holds for all of them, and then random blocks
/// are drawn from those before the window. Work: about n block (window + global + random) pairs a
/// head.
///
/// The draw is a function of `seed` and of the block's number: the same in every run, on every
/// machine, and under a causal mask at every length.
///
/// Zaheer 2020, arXiv 2007.14062.
public struct BigBirdAttention: PatternStrategy {
  public static let family = StrategyFamily(
    "bigbird", operatorClass: .restricted,
    summary: "neighbouring, global and random blocks of keys",
    source: "Zaheer 2020, arXiv 2007.14062",
    parameters: [
      StrategyParameter("block", "positions in a block (default 64)"),
      StrategyParameter("window", "neighbouring blocks, the own one included (default 3)"),
      StrategyParameter(
        "random", "blocks drawn for each block of queries, at most \(mostRandom) (default 3)"),
      StrategyParameter("global", "leading blocks that see and are seen by all (default 2)"),
      StrategyParameter("seed", "what the draw follows from (default 0)"),
      StrategyParameter(
        "blocks", "blocks that random ones are drawn from, not causal (default: all there are)"),
    ], isSweptByDefault: false, candidates: candidateSeries
  ) { arguments throws(AttentionError) in try BigBirdAttention(arguments) }

  /// Each random block of a row is a sequence of its own, for which a plan keeps the bounds of all
  /// rows.
  private static let mostRandom = 64

  private let block: Int
  private let window: Int
  private let random: Int
  private let global: Int
  private let seed: Int
  private let blocks: Int?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    block = try arguments.integer("block", atLeast: 1) ?? 64
    window = try arguments.integer("window", atLeast: 1) ?? 3
    random = try arguments.integer("random", atLeast: 0) ?? 3
    global = try arguments.integer("global", atLeast: 0) ?? 2
    seed = try arguments.integer("seed", atLeast: 0) ?? 0
    blocks = try arguments.integer("blocks", atLeast: 1)
    if random > BigBirdAttention.mostRandom {
      throw AttentionError(
        .invalidArgument, argument: "bigbird random", value: random,
        advice: "must be at most \(BigBirdAttention.mostRandom); use larger blocks")
    }
  }

  /// Blocks that random ones are drawn from where nothing is causal.
  private func resolvedBlocks(_ keyLength: Int) -> Int {
    blocks ?? (keyLength + block - 1) / block
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    var text = "\(block), \(window), \(random), \(global)"
    if seed > 0 { text += ", seed: \(seed)" }
    if random > 0, !problem.visibility.causal {
      text += ", blocks: \(resolvedBlocks(problem.shape.keyLength))"
    }
    return text
  }

  /// For some sizes of blocks a series: from no random block to as many as may be drawn. A search has none of
  /// them, since its time does not reach for more series at 32k tokens; name them to have them tried.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let keys = problem.shape.keyLength
    let blocks = density == .search ? [] : [16, 64, 128]
    return blocks.filter { 4 * $0 <= keys }.map { block in
      let most = min(keys / block - 3, mostRandom)
      return ([0] + density.sizes(from: 1, through: most))
        .map { "\(family.name)(\(block), 3, \($0), 1)" }
    }
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    BigBirdPattern(
      geometry: geometry, block: block,
      reach: geometry.causal ? (window - 1, 0) : (window / 2, window / 2), random: random,
      global: global, seed: UInt64(seed),
      blocks: geometry.causal ? .max : resolvedBlocks(geometry.keyCapacity))
  }
}

/// Sequences of all keys: the window, the global blocks, and one for each random block of a row.
struct BigBirdPattern: KeyPattern {
  let geometry: MaskGeometry
  let block: Int
  /// Blocks of the window before and after the own one.
  let reach: (left: Int, right: Int)
  let random: Int
  let global: Int
  let seed: UInt64
  /// Blocks that random ones are drawn from: no number of keys that there are, so that a row draws
  /// the same whatever sequences are beside its own.
  let blocks: Int

  func includes(position: Int, key: Int) -> Bool {
    guard geometry.visible(from: position).contains(key) else { return false }
    let (own, other) = (position.block(of: block), key / block)
    if other < global || (0..<global).contains(own) { return true }
    if (own - reach.left...own + reach.right).contains(other) { return true }
    let drawable = drawable(own)
    guard let number = drawable.number(of: other) else { return false }
    return order(of: drawable.count, own).place(of: number) < slots
  }

  var rowStrides: [Int] { [1] }

  /// Random blocks that any row can have.
  private var slots: Int { min(random, blocks) }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    Array(repeating: KeySequence(0..<geometry.keyLength), count: 2 + slots)
  }

  func sequence(_ index: Int, pass: Int, residue: Int) -> KeySequence {
    KeySequence(0..<geometry.keyLength)
  }

  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    let visible = geometry.visible(from: position)
    let own = position.block(of: block)
    let globalKeys = min(global * block, geometry.keyLength)
    let rest = visible.clamped(to: globalKeys..<geometry.keyLength)
    let seesAll = (0..<global).contains(own)
    switch index {
    case 0:
      if seesAll { return rest }
      return ((own - reach.left) * block..<(own + reach.right + 1) * block).clamped(to: rest)
    case 1:
      return visible.clamped(to: 0..<globalKeys)
    default:
      guard !seesAll, let drawn = randomBlock(index - 2, of: own) else { return 0..<0 }
      return (drawn * block..<(drawn + 1) * block).clamped(to: rest)
    }
  }

  /// The random block number `slot` of a block of queries; nil where there are no more. No two slots
  /// have the same one.
  private func randomBlock(_ slot: Int, of own: Int) -> Int? {
    let drawable = drawable(own)
    return slot < drawable.count ? drawable[order(of: drawable.count, own)[slot]] : nil
  }

  private func order(of count: Int, _ own: Int) -> RandomOrder {
    RandomOrder(of: count, seed: seed, stream: UInt64(bitPattern: Int64(own)))
  }

  /// What the random blocks of a block of queries are drawn from: those that are neither global nor in
  /// its window, before it, and where nothing is causal after it.
  private func drawable(_ own: Int) -> TwoRanges {
    let first = min(global, blocks)
    let stop = min(max(own - reach.left, first), blocks)
    let next = min(max(own + reach.right + 1, stop), blocks)
    return TwoRanges(first: first..<stop, second: geometry.causal ? next..<next : next..<blocks)
  }
}

/// The numbers of two ranges, counted through.
private struct TwoRanges {
  let first: Range<Int>
  let second: Range<Int>

  var count: Int { first.count + second.count }

  subscript(index: Int) -> Int {
    index < first.count
      ? first.lowerBound + index : second.lowerBound + index - first.count
  }

  /// Where a number is; nil where it is in neither.
  func number(of element: Int) -> Int? {
    if first.contains(element) { return element - first.lowerBound }
    return second.contains(element) ? first.count + element - second.lowerBound : nil
  }
}

/// The numbers below a count in a random order, any of which can be asked for without the others: a
/// Feistel network permutes the numbers of so many bits, and is walked until it gives one that is
/// below the count.
///
/// Black & Rogaway 2002, "Ciphers with arbitrary finite domains".
private struct RandomOrder {
  private let count: UInt64
  /// Bits of each half of a number.
  private let halfBits: UInt64
  private let key: UInt64

  /// - Parameter count: at least 1.
  init(of count: Int, seed: UInt64, stream: UInt64) {
    self.count = UInt64(count)
    halfBits = UInt64((Int.bitWidth - (count - 1).leadingZeroBitCount + 1) / 2)
    key = RandomOrder.mixed(RandomOrder.mixed(seed) &+ stream)
  }

  subscript(place: Int) -> Int {
    var number = UInt64(place)
    repeat { number = permuted(number) } while number >= count
    return Int(number)
  }

  /// Where a number stands.
  func place(of number: Int) -> Int {
    var place = UInt64(number)
    repeat { place = permutedBack(place) } while place >= count
    return Int(place)
  }

  private static let rounds: Range<UInt64> = 0..<4

  private func permuted(_ number: UInt64) -> UInt64 {
    var (left, right) = halves(number)
    for round in RandomOrder.rounds { (left, right) = (right, left ^ word(round, right)) }
    return left << halfBits | right
  }

  private func permutedBack(_ number: UInt64) -> UInt64 {
    var (left, right) = halves(number)
    for round in RandomOrder.rounds.reversed() {
      (left, right) = (right ^ word(round, left), left)
    }
    return left << halfBits | right
  }

  private func halves(_ number: UInt64) -> (left: UInt64, right: UInt64) {
    (number >> halfBits, number & (1 << halfBits - 1))
  }

  /// As many random bits as a half has.
  private func word(_ round: UInt64, _ half: UInt64) -> UInt64 {
    RandomOrder.mixed(key &+ round << 40 &+ half) & (1 << halfBits - 1)
  }

  /// SplitMix64's output function.
  private static func mixed(_ number: UInt64) -> UInt64 {
    var z = (number &+ 1) &* 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
