import COpenBLAS
import Tensors

/// OpenBLAS's products beside the definition: kernels that were picked for a processor they were not
/// written for are checked before they are trusted.
public enum BLASProduct {
  /// Sizes around vectors, tiles and blocks of every kernel: rows, columns, depth.
  private static let sizes = [
    (1, 1, 1), (1, 17, 3), (3, 5, 7), (16, 16, 64), (17, 31, 13), (33, 64, 65), (48, 49, 64),
    (65, 33, 129), (127, 65, 66), (130, 129, 33),
  ]

  /// Multiplies as `full` does, by a transposed factor and by a plain one.
  ///
  /// - Returns: the first product that is off by more than rounding, or that wrote beside its place:
  ///   `33 x 64 x 65, transposed`; nil when all are right.
  public static func firstFault() -> String? {
    for (rows, columns, depth) in sizes {
      for isTransposed in [true, false] where !isRight(rows, columns, depth, isTransposed) {
        return "\(rows) x \(columns) x \(depth)" + (isTransposed ? ", transposed" : "")
      }
    }
    return nil
  }

  private static func isRight(
    _ rows: Int, _ columns: Int, _ depth: Int, _ isTransposed: Bool
  ) -> Bool {
    // Rows lie further apart than they are long, and what lies between them is not to be touched.
    let (leftStride, stride) = (depth + 3, columns + 5)
    let rightStride = (isTransposed ? depth : columns) + 2
    var state: UInt64 = 1
    func numbers(_ count: Int) -> [Float] {
      (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int32(truncatingIfNeeded: state >> 33) % 2048 - 1024) / 256
      }
    }
    let left = numbers(rows * leftStride)
    let right = numbers((isTransposed ? columns : depth) * rightStride)
    var product = [Float](repeating: .nan, count: rows * stride)
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, isTransposed ? CblasTrans : CblasNoTrans, Int32(rows),
      Int32(columns), Int32(depth), 1, left, Int32(leftStride), right, Int32(rightStride), 0,
      &product, Int32(stride))
    for row in 0..<rows {
      for column in 0..<columns {
        var (sum, magnitude) = (0.0, 0.0)
        for place in 0..<depth {
          let other =
            isTransposed
            ? right[column * rightStride + place] : right[place * rightStride + column]
          let term = Double(left[row * leftStride + place]) * Double(other)
          sum += term
          magnitude += abs(term)
        }
        // The bound of a sum of `depth` rounded products in any order; NaN fails it.
        let bound = Double(depth + 1) * 0x1p-24 * magnitude
        guard abs(Double(product[row * stride + column]) - sum) <= bound else { return false }
      }
      let gap = product[(row * stride + columns)..<(row + 1) * stride]
      guard gap.allSatisfy(\.isNaN) else { return false }
    }
    return true
  }
}
