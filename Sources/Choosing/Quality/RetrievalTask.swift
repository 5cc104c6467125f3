import Attention
import Measuring
import RealModule
import Records
import Statistics
import Units

/// Needles in a haystack of keys: can a query fetch the value of the one key it asks for, and from
/// how far?
///
/// Every key is a random direction of length sqrt(d), every value a random code of unit normals. A
/// needle is a pair of a query row and a key at a given distance from it: the query points along
/// its key, with logit L = s sqrt(d) there and random logits of deviation s elsewhere. A random key
/// on the sphere has E exp(logit) <= exp(s^2 / 2), so that among n keys all others together have,
/// relative to the needle, a mass of n exp(s^2 / 2 - s sqrt(d)) at most on average. The sharpness s
/// is the least one that makes this 1/9: full attention then puts at least 0.9 of its mass on the
/// needle, on average (1 / (1 + x) is convex), and its output is nearly the needle's code. Nothing
/// marks a needle but the query that asks for it: a strategy that scores the key finds it, one that
/// does not see it cannot.
///
/// A needle is found when the output row is nearer, by cosine, to the needle's code than to each of
/// the codes of up to 255 other keys, evenly spread over the sequence: guessing finds 1 in 256.
public struct RetrievalTask: Sendable {
  /// Where the needle lies, seen from the query.
  public enum Side: String, Sendable, CaseIterable {
    /// At a smaller position.
    case before
    /// At a larger position; not under a causal mask.
    case after
  }

  /// Needles that are counted together.
  public struct Bin: Hashable, Sendable {
    /// Where they lie.
    public let side: Side
    /// How many positions away, both ends included.
    public let distances: ClosedRange<Int>
  }

  /// One sequence, with the scale 1/sqrt(d).
  public let problem: AttentionProblem
  /// What is counted together, nearest first, `before` first.
  public let bins: [Bin]
  /// How many needles a bin gets, as far as there are rows for them.
  public let needles: Int
  /// Decides keys, values, queries and where needles lie.
  public let seed: UInt64
  /// The deviation of a query's logits over the haystack.
  public let sharpness: Double
  /// Codes among which an output row is placed, the right one included.
  public let choices: Int

  /// The share that guessing finds.
  public var chance: Double { 1 / Double(choices) }

  /// The least mass, on average, that full attention puts on a needle.
  public static let fullMass = 0.9

  /// Needles for the sizes and the mask of a problem; batch, scale and logits play no part.
  ///
  /// - Parameters:
  ///   - distances: each a bin of its own. Nil takes octaves, 1, 2...3, 4...7 and so on up to half
  ///     the sequence; within one, distances are drawn evenly, so that no stride is favoured.
  ///   - needles: of a bin, at least 1.
  /// - Throws: `PlanError` when there are too few keys, or too few dimensions to tell them apart, or
  ///   when a distance does not fit the sequence.
  public init(
    _ problem: AttentionProblem, distances: [Int]? = nil, needles: Int = 256, seed: UInt64
  ) throws(PlanError) {
    let shape = problem.shape
    let geometry = problem.geometry(batch: 0)
    let (offset, keys) = (geometry.offset, geometry.keyLength)
    guard keys >= 2 else {
      throw PlanError(
        argument: "--n", value: "\(keys)", rule: "a needle needs another key to hide behind",
        fix: "use at least 2 keys")
    }
    guard offset >= 0, offset + shape.queryLength <= keys else {
      throw PlanError(
        argument: "--query-offset", value: "\(offset)",
        rule: "distances count from queries that stand at keys",
        fix: "keep the positions of all queries within the \(keys) keys")
    }
    let needed = Self.dimensions(keys: keys)
    guard shape.headDim >= needed else {
      throw PlanError(
        argument: "--head-dim", value: "\(shape.headDim)",
        rule: "too few dimensions to tell \(keys) random keys apart, even for full attention",
        fix: "use at least \(needed)")
    }
    do throws(AttentionError) {
      self.problem = try AttentionProblem(
        AttentionShape(
          heads: shape.heads, kvHeads: shape.kvHeads, queryLength: shape.queryLength,
          keyLength: keys, headDim: shape.headDim, valueDim: shape.valueDim),
        visibility: Visibility(
          causal: problem.visibility.causal,
          offset: offset == keys - shape.queryLength ? .bottomRight : .fixed(offset)))
    } catch {
      throw PlanError(
        argument: error.argument, value: error.value, rule: "cannot be served", fix: error.advice)
    }
    let reach = Reach(
      before: offset + shape.queryLength - 1,
      after: problem.visibility.causal ? 0 : keys - 1 - offset)
    bins = try reach.bins(distances)
    self.needles = max(needles, 1)
    self.seed = seed
    choices = min(keys, 256)
    let dimension = Double(shape.headDim)
    sharpness =
      dimension.squareRoot() - (dimension - 2 * Self.logRatio(keys: keys)).squareRoot()
  }

  /// Refuses what the initialiser would refuse, before time is spent on anything else.
  ///
  /// - Throws: `PlanError`, as the initialiser does.
  public static func check(_ problem: AttentionProblem) throws(PlanError) {
    _ = try RetrievalTask(problem, seed: 0)
  }

  /// ln(9 n): what s sqrt(d) - s^2 / 2 must reach.
  private static func logRatio(keys: Int) -> Double {
    Double.log(fullMass / (1 - fullMass) * Double(keys))
  }

  /// The least d for which some sharpness does: s sqrt(d) - s^2 / 2 is at most d / 2.
  private static func dimensions(keys: Int) -> Int { Int((2 * logRatio(keys: keys)).rounded(.up)) }
}

/// The largest distances that some query has to a key.
private struct Reach {
  let before: Int
  let after: Int

  func bins(_ distances: [Int]?) throws(PlanError) -> [RetrievalTask.Bin] {
    let sides: [(RetrievalTask.Side, Int)] = [(.before, before), (.after, after)]
    if let distances {
      if let bad = distances.first(where: { !(1...max(before, after, 1)).contains($0) }) {
        throw PlanError(
          argument: "--distances", value: "\(bad)", rule: "no query has a key that far away",
          fix: "use distances from 1 to \(max(before, after))")
      }
      return sides.flatMap { side, reach in
        distances.filter { $0 <= reach }.map { RetrievalTask.Bin(side: side, distances: $0...$0) }
      }
    }
    // Half of what the farthest query reaches: half of all queries can then serve every bin.
    let bins = sides.flatMap { side, reach in
      let last = (reach + 1) / 2
      return sequence(first: 1) { $0 * 2 }.prefix { $0 <= last }.map {
        RetrievalTask.Bin(side: side, distances: $0...min(2 * $0 - 1, last))
      }
    }
    if bins.isEmpty {
      throw PlanError(
        argument: "--n", value: "\(before + 1)", rule: "no query has a key beside its own",
        fix: "use more queries or keys")
    }
    return bins
  }
}
