import AttentionContract
import AttentionKernels
import Tensors

/// The factor on dot products that turns them into scores, in two parts.
///
/// Queries times the first part give products that are no larger than scores, so that these are
/// finite where scores are. It is a power of two and changes no other bit.
struct ScoreScale {
  /// What queries are multiplied by: a power of two of either sign and of at most 1, or 0.
  let ofQueries: Float
  /// What products are multiplied by then, above 0, so that the largest product is the largest score.
  let ofProducts: Float

  init(ofQueries: Float, ofProducts: Float) {
    self.ofQueries = ofQueries
    self.ofProducts = ofProducts
  }

  /// - Parameter scale: the softmax scale; scores are in log16 units.
  init(_ scale: Float) {
    let factor = scale * .log16e
    if !factor.isNormal {
      (ofQueries, ofProducts) = (0, 1)
      return
    }
    let power = min(factor.magnitude.binade, 1)
    ofQueries = factor < 0 ? -power : power
    ofProducts = factor.magnitude / power
  }
}

extension AttentionProblem {
  /// The bound of the scores in units of which a natural one has so many; 0 for none. Kernels divide
  /// by it, so it is not denormal.
  func softcap(inUnits unit: Float) -> Float {
    scoring.softcap.map { max($0 * unit, .leastNormalMagnitude) } ?? 0
  }

  /// The same in log16 units.
  var log16Softcap: Float { softcap(inUnits: .log16e) }
}
