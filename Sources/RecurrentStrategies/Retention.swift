import AttentionContract
import AttentionEngines
import AttentionKernels
import RealModule
import Tensors

/// Retention: linear attention whose state decays at a rate of the head's own.
///
/// S_t = gamma S_{t-1} + k_t v_t^T, o_t = scale q_t^T S_t, gamma = 1 - 2^(-5 - i) for key/value head i.
///
/// Sun 2023, arXiv 2307.08621.
public struct Retention: RecurrentStrategy {
  public static let family = StrategyFamily(
    "retention", operatorClass: .different,
    summary: "linear attention whose state decays at a rate of the head's own",
    source: "Sun 2023, arXiv 2307.08621", operands: [.state], isSweptByDefault: false
  ) { _ throws(AttentionError) in Retention() }

  init() {}

  public var dependsOnHeadNumbers: Bool { true }

  public func recurrence(for shape: AttentionShape) -> RecurrenceShape {
    RecurrenceShape(decay: .perHead)
  }

  public func take(_ token: RecurrentToken) {
    token.decay[0] = Float.log(onePlus: -Float.exp2(Float(-5 - token.head)))
  }

  public func define(_ token: inout RecurrentDefinition) {
    token.decay[0] = Double.log(onePlus: -Double.exp2(Double(-5 - token.head)))
  }
}
