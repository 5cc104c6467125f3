/// What becomes of finite fp64 numbers that fp32, in which everything is computed, has no room for.
public enum LargeNumbers: Sendable {
  /// They are refused: what is multiplied would come out as an infinity or a NaN.
  case refused
  /// They become the largest number of fp32, with their sign: right for what is added to scores, where
  /// an infinity is no number but a mask.
  case saturated
}

/// A finite number that fp32 has no room for.
public struct Float32RangeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Where it stands: an index for each axis.
  public let place: [Int]
  /// The number.
  public let value: Double

  init(index: Int, shape: FileShape, value: Double) {
    var rest = index
    var place: [Int] = []
    for size in shape.dimensions.reversed() {
      place.insert(rest % max(size, 1), at: 0)
      rest /= max(size, 1)
    }
    self.place = place
    self.value = value
  }

  /// The number, its place, the rule and the fix: what follows the tensor's name.
  public var description: String {
    "holds \(value) at \(place); computed is in fp32, whose largest number is "
      + "\(Float.greatestFiniteMagnitude): scale it down before saving, or clip it there"
  }
}

extension FileTensor {
  /// Refuses finite numbers that fp32 has no room for, which only fp64 can hold.
  ///
  /// - Throws: `Float32RangeError` for the first of them.
  public func checkFloat32Range() throws(Float32RangeError) {
    guard elementType == .float64,
      let found = ElementConversion.firstBeyondFloat32(UnsafeRawBufferPointer(memory.bytes))
    else { return }
    throw Float32RangeError(index: found.index, shape: checkedShape, value: found.value)
  }
}
