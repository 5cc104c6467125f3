import Measuring
import Records
import Statistics
import Units

extension CellText {
  /// A certified bound on an error: `3.1e-02`, or `none` where nothing can be said.
  package static func bound(_ certificate: MassCertificate?) -> String {
    certificate.map { $0.relativeL2Bound.map { error($0) } ?? "none" } ?? ""
  }
}
