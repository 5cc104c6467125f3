// Both formats are little-endian and their bytes are used as they lie.
#if !_endian(little)
  #error("TensorFiles reads and writes little-endian data without swapping bytes")
#endif

/// Conversions between fp32 and the narrower storage types.
///
/// They work on bit patterns and have no data-dependent branch, so that loops over them vectorise
/// on a baseline CPU, which has no half-precision instruction. All roundings are to nearest, ties
/// to even; a NaN stays a NaN, and what overflows becomes an infinity of the same sign. Who reads
/// fp64 says what becomes of the numbers that fp32 has no room for; see `LargeNumbers`.
enum ElementConversion {
  /// fp16 to fp32, exact for every input.
  ///
  /// Exponent and mantissa, moved into their fp32 places, make a value 2^112 too small: fp16
  /// subnormals arrive as fp32 subnormals and the multiplication normalises them. Infinity and
  /// NaN come out at or above 2^16 and only need their exponent filled up.
  @inline(__always)
  static func float32(fromHalf half: UInt16) -> Float {
    let magnitude = UInt32(half & 0x7FFF) << 13
    let scaled = Float(bitPattern: magnitude) * 0x1p112
    let special: UInt32 = scaled >= 0x1p16 ? 0x7F80_0000 : 0
    let sign = UInt32(half & 0x8000) << 16
    return Float(bitPattern: scaled.bitPattern | special | sign)
  }

  /// fp32 to fp16.
  ///
  /// Adding a power of two whose last mantissa bit is the last bit fp16 can hold makes the adder
  /// round (Dukhan's method in FP16). The scaling pair in front turns all that overflows into
  /// infinity; the lower limit on the added exponent is what makes subnormal results come out
  /// right.
  @inline(__always)
  static func half(fromFloat32 value: Float) -> UInt16 {
    let bits = value.bitPattern
    let clamped = (value.magnitude * 0x1p112) * 0x1p-110
    let doubled = bits &+ bits
    let exponent = max(doubled & 0xFF00_0000, 0x7100_0000)
    let rounded = Float(bitPattern: (exponent >> 1) &+ 0x0780_0000) + clamped
    let magnitude = ((rounded.bitPattern >> 13) & 0x7C00) &+ (rounded.bitPattern & 0x0FFF)
    let number = doubled > 0xFF00_0000 ? 0x7E00 : magnitude
    return UInt16(truncatingIfNeeded: ((bits >> 16) & 0x8000) | number)
  }

  /// bfloat16 to fp32, exact for every input.
  @inline(__always)
  static func float32(fromBrain brain: UInt16) -> Float {
    Float(bitPattern: UInt32(brain) << 16)
  }

  /// fp32 to bfloat16. A NaN is made quiet, so that dropping its low bits cannot leave infinity.
  @inline(__always)
  static func brain(fromFloat32 value: Float) -> UInt16 {
    let bits = value.bitPattern
    let rounded = (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16
    let quiet = (bits >> 16) | 0x0040
    let isNaN = (bits & 0x7FFF_FFFF) > 0x7F80_0000
    return UInt16(truncatingIfNeeded: isNaN ? quiet : rounded)
  }

  /// fp64 to fp32; a finite number beyond the largest of fp32 becomes that, not an infinity, which
  /// would hide a key.
  @inline(__always)
  static func saturatedFloat32(fromDouble value: Double) -> Float {
    let largest = Double(Float.greatestFiniteMagnitude)
    let limited = max(-largest, min(largest, value))
    return Float(value.isFinite ? limited : value)
  }

  /// The first finite number of fp64 elements that rounds to an infinity in fp32; nil for none.
  static func firstBeyondFloat32(_ source: UnsafeRawBufferPointer) -> (index: Int, value: Double)? {
    for (index, value) in source.bindMemory(to: Double.self).enumerated()
    where value.isFinite && Float(value).isInfinite {
      return (index, value)
    }
    return nil
  }

  /// Decodes as many elements as `destination` holds from `source`, which holds their bytes.
  ///
  /// - Parameter saturating: whether fp64 numbers beyond those of fp32 become the largest of fp32; the
  ///   caller has refused them where not.
  static func decode(
    _ source: UnsafeRawBufferPointer, as type: FileElementType,
    into destination: UnsafeMutableBufferPointer<Float>, saturating: Bool = false
  ) {
    precondition(source.count == destination.count * type.byteWidth)
    switch type {
    case .float16:
      map(source.bindMemory(to: UInt16.self), into: destination) { float32(fromHalf: $0) }
    case .bfloat16:
      map(source.bindMemory(to: UInt16.self), into: destination) { float32(fromBrain: $0) }
    case .float32:
      map(source.bindMemory(to: Float.self), into: destination) { $0 }
    case .float64:
      let doubles = source.bindMemory(to: Double.self)
      if saturating {
        map(doubles, into: destination) { saturatedFloat32(fromDouble: $0) }
      } else {
        map(doubles, into: destination) { Float($0) }
      }
    case .bool, .integer: preconditionFailure("callers decode floating-point numbers only")
    }
  }

  /// Encodes all of `source` into `destination`, which has exactly the bytes they need.
  static func encode(
    _ source: UnsafeBufferPointer<Float>, as type: FileElementType,
    into destination: UnsafeMutableRawBufferPointer
  ) {
    precondition(destination.count == source.count * type.byteWidth)
    switch type {
    case .float16:
      map(source, into: destination.bindMemory(to: UInt16.self)) { half(fromFloat32: $0) }
    case .bfloat16:
      map(source, into: destination.bindMemory(to: UInt16.self)) { brain(fromFloat32: $0) }
    case .float32:
      map(source, into: destination.bindMemory(to: Float.self)) { $0 }
    case .float64:
      map(source, into: destination.bindMemory(to: Double.self)) { Double($0) }
    case .bool, .integer: preconditionFailure("callers encode floating-point numbers only")
    }
  }

  @inline(__always)
  private static func map<From, To>(
    _ source: UnsafeBufferPointer<From>, into destination: UnsafeMutableBufferPointer<To>,
    _ convert: (From) -> To
  ) {
    for index in 0..<source.count {
      destination[index] = convert(source[index])
    }
  }
}
