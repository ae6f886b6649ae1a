// Everyone's bookings.

import { t } from "../language";
import { Title } from "../parts/basics";

export function BookingSearch() {
  return <Title>{t().operator.bookings}</Title>;
}
