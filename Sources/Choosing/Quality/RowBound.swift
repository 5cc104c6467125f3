import Measuring
import RealModule
import Records
import Statistics
import Units

/// How far one row of a restricted softmax can be from full attention, for certain.
///
/// Of the keys a query sees, a strategy keeps a subset S; the others are R. With full attention's
/// weights p_j, m = sum of p_j over S is the mass kept, m = exp(LSE_S - LSE_full), and o_S, the
/// strategy's row, is the mean of the values over S. So o = m o_S + sum over R of p_j v_j, and
/// since the weights of R add up to 1 - m,
///
///     o - o_S = sum over R of p_j (v_j - o_S)
///
/// exactly. For any point c and distances r_j = |v_j - c| the triangle inequality gives
///
///     |o - o_S| <= sum over R of p_j r_j + (1 - m) |o_S - c|
///
/// and the first sum is r_full - m r_S, with r_full and r_S what full attention and the strategy
/// make of the single value column r: neither the weights nor the values of R are looked at one by
/// one. It is never above (1 - m) times twice the largest r_j.
///
/// The triangle inequality takes all lost values to pull in one direction. So a few orthonormal
/// directions, the rows of P, are computed instead of bounded: as many more value columns give
/// P o, and with r_j = |(I - P'P)(v_j - c)|, what is left of a distance beside them,
///
///     |o - o_S|^2 <= |P o - P o_S|^2 + (r_full - m r_S + (1 - m) |(I - P'P)(o_S - c)|)^2
///
/// With no direction that is the bound above, with dV of them the error itself.
///
/// All norms are Euclidean, over the columns of a row.
public struct RowBound: Sendable, Hashable {
  /// An upper bound on |o - o_S|; infinite where nothing can be said.
  public let distance: Double
  /// A lower bound on m, the share of full attention's mass that the kept keys hold.
  public let massKept: Double
  /// |o_S|.
  public let outputNorm: Double
  /// A lower bound on |o|.
  public let fullNorm: Double

  /// What a bound is made of, each rounded to the safe side. Where a strategy's output is meant, it
  /// is the one it computed, rounding included.
  public struct Parts: Sendable, Hashable {
    /// At most m.
    public var massKept: Double
    /// At least r_full.
    public var fullSpread: Double
    /// At most r_S.
    public var keptSpread: Double
    /// |(I - P'P)(o_S - c)|.
    public var outputSpread: Double
    /// At least |P o - P o_S|; 0 without directions.
    public var alongDirections = 0.0
    /// At most |P o|; 0 without directions.
    public var fullAlongDirections = 0.0
    /// |(I - P'P) o_S|; |o_S| without directions.
    public var outputBesideDirections: Double
    /// |o_S|.
    public var outputNorm: Double
    /// At least the distance of the computed output from o_S.
    public var rounding = 0.0

    /// Parts without directions and without rounding.
    public init(
      massKept: Double, fullSpread: Double, keptSpread: Double, outputSpread: Double,
      outputNorm: Double
    ) {
      self.massKept = massKept
      self.fullSpread = fullSpread
      self.keptSpread = keptSpread
      self.outputSpread = outputSpread
      self.outputNorm = outputNorm
      outputBesideDirections = outputNorm
    }
  }

  /// The bound that the parts give.
  public init(_ parts: Parts) {
    let kept = min(max(parts.massKept, 0), 1)
    let outside = max(parts.fullSpread - kept * parts.keptSpread, 0)
    let inside = (1 - kept) * (parts.outputSpread + parts.rounding)
    let beside = outside + inside + parts.rounding
    let along = parts.alongDirections
    // These few operations are in fp64, off by parts in 10^15 of what they take in.
    let bound =
      (along * along + beside * beside).squareRoot() * (1 + 1e-14)
      + 1e-14 * (parts.fullSpread + parts.outputSpread)
    distance = bound.isNaN || parts.massKept.isNaN ? .infinity : bound
    massKept = parts.massKept.isNaN ? 0 : kept
    outputNorm = parts.outputNorm
    let leftBeside = max(parts.outputBesideDirections - beside, 0)
    let full = parts.fullAlongDirections * parts.fullAlongDirections + leftBeside * leftBeside
    fullNorm = distance.isFinite ? full.squareRoot() * (1 - 1e-14) : 0
  }

  /// The bound of a row that sees no key: full attention gives 0 there.
  init(emptyRowWithOutputNorm norm: Double) {
    distance = norm.isNaN ? .infinity : norm
    massKept = 1
    outputNorm = norm
    fullNorm = 0
  }
}
